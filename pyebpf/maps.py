"""The map types: in a program a Python mapping that compiles to helper calls, in user space a typed mapping.

A map object declares the map; the kernel's map is made when the first program that uses it is loaded, or when
user space touches it first, and every later program of the process shares it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from pyebpf.declare import MapDecl
from pyebpf.hints import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar, cast, is_type_variable
from pyebpf.lang import layout_of
from pyebpf.layout import U32, U64, ArrayType, IntType, Layout, StructType
from pyebpf.uapi.constants import MapCreateFlag, MapType

if TYPE_CHECKING:
    import socket

    from pyebpf.program import Program
    from pyebpf.runtime import map_kinds
    from pyebpf.runtime import maps as live_maps

K = TypeVar("K")
V = TypeVar("V")


class _Declared:
    """What all maps have: the declaration, and the kernel's map once there is one."""

    TYPE: ClassVar[MapType]
    FLAGS: ClassVar[int] = 0
    __bpf__: MapDecl

    @property
    def live(self) -> live_maps.Map:
        """The kernel's map; made now if no program has been loaded with it yet."""
        from pyebpf.session import live_map

        return live_map(self.__bpf__)

    @property
    def fd(self) -> int:
        """The file descriptor of the kernel's map."""
        return self.live.fd

    @property
    def name(self) -> str | None:
        """The name, once the compiler has found it (the variable that holds the map) or the user has given it."""
        return self.__bpf__.name

    def pin(self, path: str) -> None:
        """Keep the kernel's map under ``path`` of a BPF file system after this process ends."""
        self.live.pin(path)

    def close(self) -> None:
        """Let go of the kernel's map; it goes away with the last program that uses it. The next use makes a new one."""
        from pyebpf.session import close_map

        close_map(self.__bpf__)

    def __repr__(self) -> str:
        return f"<{self._title()}>"

    def _title(self) -> str:
        decl = self.__bpf__
        types = ", ".join(of.name for of in (decl.key, decl.value) if of is not None)
        return f"{type(self).__name__}[{types}] {decl.name or '(unnamed)'} of {decl.max_entries}"

    def _repr_html_(self) -> str:
        from pyebpf.notebook import map_html

        return map_html(self.__bpf__, self._title())


class _Indexed(_Declared):
    """Maps that user space reads and writes by key."""

    @property
    def live(self) -> live_maps.MappingMap:
        """The kernel's map; made now if no program has been loaded with it yet."""
        return cast("live_maps.MappingMap", super().live)


class _Keyed(_Indexed, Generic[K, V]):
    """Maps with keys and values."""

    KEY_IS_INDEX: ClassVar[bool] = False

    if not TYPE_CHECKING:

        def __class_getitem__(cls, types: Any) -> Any:
            if isinstance(types, tuple) and all(is_type_variable(of) for of in types):
                return super().__class_getitem__(types)
            if not isinstance(types, tuple) or len(types) != 2:
                raise TypeError(f"{cls.__name__} takes a key type and a value type: {cls.__name__}[u32, u64]")
            key, value = layout_of(types[0]), layout_of(types[1])
            if cls.KEY_IS_INDEX and key != U32:
                raise TypeError(f"the key of {cls.__name__} is an index: u32, not {key.name}")
            if cls is LpmTrie and not isinstance(key, StructType):
                raise TypeError(
                    "the key of LpmTrie is a struct: prefixlen: u32, then the bytes of the address in network order"
                )

            def make(
                *, max_entries: int, default: int | None = None, name: str | None = None, flags: int = 0
            ) -> Any:
                return cls._make(key, value, max_entries, default, name, flags)

            return make

    def __init__(
        self, *, max_entries: int, default: int | None = None, name: str | None = None, flags: int = 0
    ) -> None:
        raise TypeError(f"say what it maps: bpf.{type(self).__name__}[u32, u64](max_entries={max_entries})")

    @classmethod
    def _make(
        cls, key: Layout, value: Layout, max_entries: int, default: int | None, name: str | None, flags: int
    ) -> Any:
        if max_entries < 1:
            raise ValueError(f"max_entries must be at least 1, not {max_entries}")
        if default is not None:
            if not isinstance(value, IntType):
                raise TypeError("default= works for maps of integers")
            if not value.lo <= default <= value.hi:
                raise ValueError(f"the default {default} does not fit into {value.name}")
        self = object.__new__(cls)
        self.__bpf__ = MapDecl(cls.TYPE, key, value, max_entries, flags | cls.FLAGS, default, name)
        return self

    def __getitem__(self, key: K) -> V:
        return cast("V", self.live[key])

    def __setitem__(self, key: K, value: V) -> None:
        self.live[key] = value

    def __delitem__(self, key: K) -> None:
        del self.live[key]

    def __contains__(self, key: object) -> bool:
        return key in self.live

    def __iter__(self) -> Iterator[K]:
        return cast("Iterator[K]", iter(self.live))

    def __len__(self) -> int:
        return len(self.live)

    def get(self, key: K, default: Any = None) -> V | Any:
        """The value of ``key``, or ``default`` where it is missing."""
        return self.live.get(key, default)

    def update(self, key: K, value: V, flags: int = 0) -> int:
        """Store ``value`` under ``key``; ``flags``: ``BPF_ANY``, ``BPF_NOEXIST``, ``BPF_EXIST``.

        In a program the result is 0 or a negative error number; in user space a failure raises ``BpfError``.
        """
        self.live.update(key, value, flags)
        return 0

    def delete(self, key: K) -> int:
        """Remove ``key``. In a program the result is 0 or a negative error number; in user space ``KeyError``."""
        del self.live[key]
        return 0

    def items(self) -> Iterable[tuple[K, V]]:
        """All pairs, in the kernel's order, read in batches where the kernel has them."""
        return self.live.items()

    def keys(self) -> Iterable[K]:
        """All keys."""
        return self.live.keys()

    def values(self) -> Iterable[V]:
        """All values."""
        return self.live.values()

    def clear(self) -> None:
        """Remove every key (arrays: zero every value)."""
        self.live.clear()


class ArrayMap(_Keyed[K, V]):
    """``max_entries`` values, zero at first, by index (``u32``). ``BPF_MAP_TYPE_ARRAY``."""

    TYPE = MapType.ARRAY
    KEY_IS_INDEX = True


class HashMap(_Keyed[K, V]):
    """A hash table of at most ``max_entries`` keys. ``BPF_MAP_TYPE_HASH``."""

    TYPE = MapType.HASH


class LruHashMap(_Keyed[K, V]):
    """A hash table that throws out the least recently used keys when it is full. ``BPF_MAP_TYPE_LRU_HASH``."""

    TYPE = MapType.LRU_HASH


class PerCpuArray(_Keyed[K, V]):
    """An array with a value of its own for each CPU; user space sees a tuple of them. ``BPF_MAP_TYPE_PERCPU_ARRAY``."""

    TYPE = MapType.PERCPU_ARRAY
    KEY_IS_INDEX = True

    def total(self, key: K) -> int:
        """The sum over all CPUs of an integer value."""
        return int(sum(self.live[key]))


class PerCpuHash(_Keyed[K, V]):
    """A hash table with a value for each CPU; user space sees a tuple of them. ``BPF_MAP_TYPE_PERCPU_HASH``."""

    TYPE = MapType.PERCPU_HASH

    def total(self, key: K) -> int:
        """The sum over all CPUs of an integer value."""
        return int(sum(self.live[key]))


class LpmTrie(_Keyed[K, V]):
    """Longest-prefix match: keys are structs of a prefix length in bits and the bytes. ``BPF_MAP_TYPE_LPM_TRIE``."""

    TYPE = MapType.LPM_TRIE
    FLAGS = int(MapCreateFlag.NO_PREALLOC)


class ProgArray(_Indexed):
    """Programs by index, for tail calls: ``return progs[i](ctx)`` in a program, ``progs[i] = other`` in user space."""

    TYPE = MapType.PROG_ARRAY

    def __init__(self, *, max_entries: int, name: str | None = None) -> None:
        self.__bpf__ = MapDecl(self.TYPE, U32, U32, max_entries, name=name)

    def __getitem__(self, index: int) -> Callable[[object], int]:
        raise TypeError(
            "a program can be tail-called from a program only; `i in progs` tells whether a slot is filled"
        )

    def __setitem__(self, index: int, program: Program) -> None:
        from pyebpf.session import loaded_here

        self.live[index] = loaded_here(program.__bpf__)

    def __delitem__(self, index: int) -> None:
        del self.live[index]

    def __contains__(self, index: int) -> bool:
        return index in self.live


class SockMap(_Indexed):
    """Sockets by index; sk_skb programs attach to it. ``BPF_MAP_TYPE_SOCKMAP``."""

    TYPE = MapType.SOCKMAP

    def __init__(self, *, max_entries: int, name: str | None = None) -> None:
        self.__bpf__ = MapDecl(self.TYPE, U32, U32, max_entries, name=name)

    def __setitem__(self, index: int, sock: socket.socket | int) -> None:
        self.live[index] = sock

    def __delitem__(self, index: int) -> None:
        del self.live[index]


class _Sequence(_Declared, Generic[V]):
    """Queues and stacks."""

    @property
    def live(self) -> map_kinds.Queue:
        """The kernel's map; made now if no program has been loaded with it yet."""
        return cast("map_kinds.Queue", super().live)

    if not TYPE_CHECKING:

        def __class_getitem__(cls, of: Any) -> Any:
            if is_type_variable(of):
                return super().__class_getitem__(of)
            value = layout_of(of)

            def make(*, max_entries: int, name: str | None = None) -> Any:
                self = object.__new__(cls)
                self.__bpf__ = MapDecl(cls.TYPE, None, value, max_entries, name=name)
                return self

            return make

    def __init__(self, *, max_entries: int, name: str | None = None) -> None:
        raise TypeError(f"say what it holds: bpf.{type(self).__name__}[u64](max_entries={max_entries})")

    def push(self, value: V, flags: int = 0) -> int:
        """Add ``value``; with ``BPF_EXIST`` a full map drops its oldest. In a program: 0 or a negative error number."""
        self.live.push(value, flags)
        return 0

    def pop(self) -> V:
        """Remove and return the next value; ``IndexError`` when empty."""
        return cast("V", self.live.pop())

    def peek(self) -> V:
        """The next value, left in place; ``IndexError`` when empty."""
        return cast("V", self.live.peek())


class Queue(_Sequence[V]):
    """First in, first out. ``BPF_MAP_TYPE_QUEUE``."""

    TYPE = MapType.QUEUE


class Stack(_Sequence[V]):
    """Last in, first out. ``BPF_MAP_TYPE_STACK``."""

    TYPE = MapType.STACK


class StackTrace(_Indexed):
    """Call stacks by the ids that ``bpf.get_stackid`` gives for them. ``BPF_MAP_TYPE_STACK_TRACE``.

    ``stacks[id]`` is a tuple of addresses, the innermost function's first, at most ``depth`` of them;
    ``del stacks[id]`` and ``clear`` make room for others.
    """

    TYPE = MapType.STACK_TRACE

    def __init__(self, *, max_entries: int = 1024, depth: int = 127, name: str | None = None) -> None:
        if max_entries < 1 or depth < 1:
            raise ValueError(f"{max_entries} stacks of {depth} addresses: both must be at least 1")
        self.__bpf__ = MapDecl(self.TYPE, U32, ArrayType(U64, depth), max_entries, name=name)

    def __getitem__(self, stack: int) -> tuple[int, ...]:
        return cast("tuple[int, ...]", self.live[stack])

    def __delitem__(self, stack: int) -> None:
        del self.live[stack]

    def __contains__(self, stack: int) -> bool:
        return stack >= 0 and stack in self.live

    def __iter__(self) -> Iterator[int]:
        return iter(self.live)

    def __len__(self) -> int:
        return len(self.live)

    def get(self, stack: int) -> tuple[int, ...] | None:
        """The addresses of ``stack``, or ``None`` where there is none."""
        return cast("tuple[int, ...] | None", self.live.get(stack))

    def items(self) -> Iterable[tuple[int, tuple[int, ...]]]:
        """All ids with their stacks."""
        return self.live.items()

    def clear(self) -> None:
        """Forget all stacks."""
        self.live.clear()
