"""Maps that are not plain mappings of data, and the choice of the class for a map type."""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterator

from pyebpf.hints import TYPE_CHECKING, Any
from pyebpf.layout import U32, Layout
from pyebpf.records import dataclass
from pyebpf.runtime.backing import Backing
from pyebpf.runtime.errors import NotSupported, Phase
from pyebpf.runtime.map_codec import Codec, FdCodec, PerCpuCodec, codec_for
from pyebpf.runtime.maps import (
    ArrayMap,
    HashMap,
    LpmTrie,
    Map,
    MappingMap,
    PerCpuArray,
    PerCpuHash,
)
from pyebpf.uapi.constants import MapType, MapUpdateFlag

if TYPE_CHECKING:
    from typing import Final

    from pyebpf.runtime.fd import Fd


class _Sequence(Map):
    def push(self, value: Any, flags: int = MapUpdateFlag.ANY) -> None:
        """Put ``value`` in. Raises ``BpfError`` E2BIG if the map is full; with the flag ``EXIST`` a full
        one drops its oldest value instead."""
        self.elements.update(None, self._value.encode(value), flags)

    def pop(self) -> Any:
        """Take the next value out. Raises ``IndexError`` if there is none."""
        return self._take(delete=True)

    def peek(self) -> Any:
        """The next value, which stays. Raises ``IndexError`` if there is none."""
        return self._take(delete=False)

    def drain(self) -> Iterator[Any]:
        """Take values out until there are none."""
        while (data := self.elements.lookup(None, delete=True)) is not None:
            yield self._value.decode(data)

    def _take(self, *, delete: bool) -> Any:
        data = self.elements.lookup(None, delete=delete)
        if data is None:
            raise IndexError(f"{self.name!r} is empty")
        return self._value.decode(data)


class Queue(_Sequence):
    """QUEUE: first in, first out."""


class Stack(_Sequence):
    """STACK: last in, first out."""


class FdMap(MappingMap):
    """Maps whose values are programs, maps or perf events: they are set as objects with a descriptor and
    read as ids.

    Empty slots of an array do not count as elements.
    """

    def _raw_pairs(self) -> Iterator[tuple[bytes, bytes]]:
        return self._walk_pairs()


class ProgArray(FdMap):
    """PROG_ARRAY: ``m[i] = program`` fills a slot for tail calls, ``del m[i]`` empties it, ``m[i]`` is the
    program's id.

    The kernel empties the array when its last descriptor and pin are gone, whoever still calls through it.
    """


class SockMap(FdMap):
    """SOCKMAP and SOCKHASH: ``m[k] = sock`` adds a socket, which leaves by ``del`` or when it is closed.

    Reading gives the socket's cookie, and only from maps with 8-byte values.
    """

    def __getitem__(self, key: Any) -> Any:
        """The cookie of the socket. Raises ``KeyError``, ``NotSupported`` for 4-byte values."""
        self._check_readable()
        return super().__getitem__(key)

    def __contains__(self, key: object) -> bool:
        self._check_readable()
        return super().__contains__(key)

    def _raw_pairs(self) -> Iterator[tuple[bytes, bytes]]:
        self._check_readable()
        return super()._raw_pairs()

    def _check_readable(self) -> None:
        if self.value_size != 8:
            detail = (
                f"a sockmap is readable only if its values have 8 bytes, this one's have {self.value_size}"
            )
            raise NotSupported(errno.EOPNOTSUPP, Phase.MAP_LOOKUP, repr(self.name), detail=detail)

    def __delitem__(self, key: Any) -> None:
        """Take a socket out. Raises ``KeyError``."""
        # An empty slot of a SOCKMAP answers EINVAL, where a missing key of a SOCKHASH is ENOENT.
        try:
            super().__delitem__(key)
        except OSError as error:
            if error.errno != errno.EINVAL:
                raise
            raise KeyError(key) from None


@dataclass(frozen=True, slots=True)
class _Kind:
    """How a map type is presented. ``values``: the codec, from the layout, the map's value size and the number of
    CPUs."""

    make: Callable[[Backing, Codec, Codec], Map]
    values: Callable[[Layout | None, int, int], Codec]
    key: Layout | None = None


def _data(layout: Layout | None, size: int, cpus: int) -> Codec:
    return codec_for(layout, size)


def _per_cpu(layout: Layout | None, size: int, cpus: int) -> Codec:
    return PerCpuCodec(codec_for(layout, size), cpus)


def _fds(layout: Layout | None, size: int, cpus: int) -> Codec:
    return FdCodec(size)


def _ring_buffer(backing: Backing, key: Codec, value: Codec) -> Map:
    from pyebpf.runtime.events import RingBuf

    return RingBuf(backing, key, value)


def _perf_events(backing: Backing, key: Codec, value: Codec) -> Map:
    from pyebpf.runtime.perf_events import PerfEventArray

    return PerfEventArray(backing, key, value)


def _stack_trace(backing: Backing, key: Codec, value: Codec) -> Map:
    from pyebpf.runtime.stacks import StackTrace

    return StackTrace(backing, key, value)


_PLAIN: Final = _Kind(Map, _data)
_EVENTS: Final = frozenset({MapType.RINGBUF, MapType.PERF_EVENT_ARRAY})
"""Types whose value layout is that of their events."""
_KINDS: Final[dict[MapType, _Kind]] = {
    MapType.HASH: _Kind(HashMap, _data),
    MapType.LRU_HASH: _Kind(HashMap, _data),
    MapType.ARRAY: _Kind(ArrayMap, _data, U32),
    MapType.PERCPU_HASH: _Kind(PerCpuHash, _per_cpu),
    MapType.LRU_PERCPU_HASH: _Kind(PerCpuHash, _per_cpu),
    MapType.PERCPU_ARRAY: _Kind(PerCpuArray, _per_cpu, U32),
    MapType.LPM_TRIE: _Kind(LpmTrie, _data),
    MapType.PROG_ARRAY: _Kind(ProgArray, _fds, U32),
    MapType.PERF_EVENT_ARRAY: _Kind(_perf_events, _data, U32),
    MapType.STACK_TRACE: _Kind(_stack_trace, _data, U32),
    MapType.CGROUP_ARRAY: _Kind(FdMap, _fds, U32),
    MapType.ARRAY_OF_MAPS: _Kind(FdMap, _fds, U32),
    MapType.HASH_OF_MAPS: _Kind(FdMap, _fds),
    MapType.SOCKMAP: _Kind(SockMap, _fds, U32),
    MapType.SOCKHASH: _Kind(SockMap, _fds),
    MapType.DEVMAP: _Kind(HashMap, _data, U32),
    MapType.DEVMAP_HASH: _Kind(HashMap, _data, U32),
    MapType.QUEUE: _Kind(Queue, _data),
    MapType.STACK: _Kind(Stack, _data),
    MapType.RINGBUF: _Kind(_ring_buffer, _data),
}


def present(
    backing: Backing, key: Layout | None = None, value: Layout | None = None, values: Codec | None = None
) -> Map:
    """The map of ``backing``, which it owns from now on, as an object of the class for its type.

    ``key`` and ``value``: their layouts; without one, values are bytes (keys of arrays are always
    integers). For ring buffers and perf event arrays ``value`` is the
    layout of their records. ``values``: the codec of values, where the
    map's holder has one of its own. Raises ``ValueError`` if a layout has another size.
    """
    facts = backing.facts
    kind = _KINDS.get(facts.type, _PLAIN)
    key = key if key is not None else kind.key
    fixed = ((key, facts.key_size, "key"), (value, facts.value_size, "value"))
    for layout, size, what in fixed[: 1 if facts.type in _EVENTS else 2]:
        if layout is not None and size and layout.size != size:
            raise ValueError(
                f"the {what} of map {facts.name!r} has {size} bytes, but {layout.name} has {layout.size}"
            )
    codec = values if values is not None else kind.values(value, facts.value_size, backing.cpus)
    return kind.make(backing, codec_for(key, facts.key_size), codec)


def map_of(fd: Fd, key: Layout | None = None, value: Layout | None = None) -> Map:
    """The kernel's map behind ``fd``, which it owns from now on: ``present`` with these layouts."""
    from pyebpf.runtime.kernel_backing import KernelBacking

    return present(KernelBacking(fd), key, value)
