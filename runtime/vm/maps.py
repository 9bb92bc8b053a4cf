"""The map types over byte arrays in the machine's memory: what all have in common, and the choice by type.

A value is a region of its own, so a program that leaves one value misses the next. Error numbers and flags are those
of the kernel: kernel/bpf/{arraymap,hashtab,lpm_trie,queue_stack_maps,ringbuf}.c; results are 0 or ``-errno``. What the
verifier refuses (updating a queue by key, say) raises ``BadArgument``.
"""

from __future__ import annotations

import errno
import weakref
from collections.abc import Callable, Iterator

from pyebpf.hints import TYPE_CHECKING, ClassVar
from pyebpf.object import MapSpec
from pyebpf.runtime.errors import BpfError, Phase, UnsupportedObject
from pyebpf.runtime.vm.environment import Environment
from pyebpf.runtime.vm.errors import BadArgument
from pyebpf.runtime.vm.memory import Memory, Region
from pyebpf.uapi.constants import MapCreateFlag, MapType, MapUpdateFlag

if TYPE_CHECKING:
    from typing import Final

    from pyebpf.runtime import maps as user
    from pyebpf.runtime.vm.maps_user import MachineElements

Values = tuple[Region, ...]
"""An element: its value, or one for each CPU."""

PER_CPU: Final = frozenset({MapType.PERCPU_ARRAY, MapType.PERCPU_HASH, MapType.LRU_PERCPU_HASH})


class MachineMap:
    """A map of the machine. ``address`` is what ``ld_imm64`` of the map gives programs: a page where nothing can be
    read.

    ``HOLDS_MAPS``: a lookup gives the address of a map. ``lookup`` … ``peek`` are what helpers do; ``read`` …
    ``next_key`` what system calls of user space do, where keys are ``None`` for queues and stacks and values of per-CPU
    maps are those of all CPUs.
    """

    HOLDS_MAPS: ClassVar[bool] = False

    def __init__(self, spec: MapSpec, memory: Memory, environment: Environment) -> None:
        self.spec = spec
        self.memory = memory
        self.environment = environment
        place = memory.map(bytearray(), f"the map {spec.name!r}", writable=False)
        self.address = place.address
        self._owned: dict[int, Region] = {place.address: place}
        weakref.finalize(self, _release, memory, self._owned).atexit = False
        self.copies = environment.cpus if spec.type in PER_CPU else 1
        self.frozen = False

    @property
    def elements(self) -> MachineElements:
        """What user space works with: the interface of ``runtime.backing.ElementAccess``."""
        from pyebpf.runtime.vm.maps_user import MachineElements

        return MachineElements(self)

    @property
    def value_bytes(self) -> int:
        """What a value takes in user space: per-CPU maps give those of all CPUs, each rounded up to 8 bytes."""
        size = self.spec.value_size
        return (size + 7 & ~7) * self.copies if self.spec.type in PER_CPU else size

    def lookup(self, key: bytes) -> int:
        """The address of the value, on the CPU that runs; 0 if there is none."""
        raise self.refusal("looked up")

    def lookup_on(self, key: bytes, cpu: int) -> int:
        """The address of the value on ``cpu``; 0 if there is none."""
        raise self.refusal("looked up by CPU")

    def update(self, key: bytes, value: bytes, flags: int) -> int:
        """Set an element, of a per-CPU map on the CPU that runs."""
        raise self.refusal("updated")

    def delete(self, key: bytes) -> int:
        """Take an element out."""
        raise self.refusal("deleted from")

    def push(self, value: bytes, flags: int) -> int:
        """Add a value."""
        raise self.refusal("pushed to")

    def pop(self) -> bytes | None:
        """Take the next value out; ``None`` if there is none."""
        raise self.refusal("popped from")

    def peek(self) -> bytes | None:
        """The next value; ``None`` if there is none."""
        raise self.refusal("peeked at")

    def visit(self) -> Iterator[tuple[bytes, int]]:
        """Every key and the address of its value, as bpf_for_each_map_elem goes through them."""
        raise self.refusal("iterated over")

    def inner(self, address: int) -> MachineMap | None:
        """The map that a lookup in a map of maps gave the address of."""
        return None

    def read(self, key: bytes | None) -> bytes | int:
        """BPF_MAP_LOOKUP_ELEM: the value or ``-errno``."""
        return -errno.EOPNOTSUPP

    def take(self, key: bytes | None) -> bytes | int:
        """BPF_MAP_LOOKUP_AND_DELETE_ELEM."""
        return -errno.EOPNOTSUPP

    def write(self, key: bytes | None, value: bytes, flags: int) -> int:
        """BPF_MAP_UPDATE_ELEM."""
        return -errno.EOPNOTSUPP

    def remove(self, key: bytes) -> int:
        """BPF_MAP_DELETE_ELEM."""
        return self.delete(key)

    def keys(self) -> Iterator[bytes]:
        """The keys, in the order of BPF_MAP_GET_NEXT_KEY. Nothing may change meanwhile."""
        return iter(())

    def next_key(self, key: bytes | None) -> bytes | int:
        """BPF_MAP_GET_NEXT_KEY: after a key that is not there comes the first one."""
        first: bytes | None = None
        keys = self.keys()
        for candidate in keys:
            if key is None:
                return candidate
            first = candidate if first is None else first
            if candidate == key:
                return next(keys, -errno.ENOENT)
        return -errno.ENOENT if first is None else first

    def close(self) -> None:
        """Give all memory back."""

    def refusal(self, what: str) -> BadArgument:
        """The error for an operation that the verifier does not let programs do."""
        return BadArgument(
            f"the map {self.spec.name!r} ({self.spec.type.name}) cannot be {what} by a program"
        )

    def new_values(self) -> Values:
        """Memory for an element, zeroed."""
        size, name = self.spec.value_size, f"a value of the map {self.spec.name!r}"
        writable = not self.spec.flags & MapCreateFlag.RDONLY_PROG
        made = tuple(self.memory.map(bytearray(size), name, writable=writable) for _ in range(self.copies))
        for region in made:
            self._owned[region.address] = region
        return made

    def here(self, values: Values) -> int:
        """The address of the value on the CPU that runs."""
        return values[self.environment.cpu if self.copies > 1 else 0].address

    def set_here(self, values: Values, value: bytes) -> None:
        """Set the value on the CPU that runs."""
        values[self.environment.cpu if self.copies > 1 else 0].data[:] = value

    def joined(self, values: Values) -> bytes:
        """The values of all CPUs as user space gets them."""
        if self.spec.type not in PER_CPU:
            return bytes(values[0].data)
        stride = self.spec.value_size + 7 & ~7
        return b"".join(bytes(region.data).ljust(stride, b"\0") for region in values)

    def set_all(self, values: Values, data: bytes) -> None:
        """Set the values of all CPUs from what user space gave."""
        size = self.spec.value_size
        stride = size + 7 & ~7
        for index, region in enumerate(values):
            region.data[:] = data[index * stride : index * stride + size]

    def bury(self, values: Values) -> None:
        """Take an element's memory away at the end of the run: programs may still hold pointers to it."""
        for region in values:
            del self._owned[region.address]
            self.memory.bury(region)


def _release(memory: Memory, owned: dict[int, Region]) -> None:
    """Give the memory of a map back that nobody refers to any more. A run may be going on, so not at once."""
    for region in owned.values():
        memory.bury(region)
    owned.clear()


def check_flags(flags: int, exists: bool) -> int:
    """What kernel/bpf/hashtab.c answers to the flags of an update; 0 if it may go on. The machine has no spin locks
    in values, so BPF_F_LOCK is refused as by the kernel."""
    if flags > MapUpdateFlag.EXIST:
        return -errno.EINVAL
    if exists and flags == MapUpdateFlag.NOEXIST:
        return -errno.EEXIST
    if not exists and flags == MapUpdateFlag.EXIST:
        return -errno.ENOENT
    return 0


def _factories() -> dict[MapType, Callable[[MapSpec, Memory, Environment], MachineMap]]:
    from pyebpf.runtime.vm.maps_array import ArrayMap, MapArray, ProgArray, SockArray
    from pyebpf.runtime.vm.maps_hash import HashMap, HashOfMaps, LruHashMap
    from pyebpf.runtime.vm.maps_perf import PerfMap
    from pyebpf.runtime.vm.maps_queue import QueueMap, StackMap
    from pyebpf.runtime.vm.maps_ring import RingMap
    from pyebpf.runtime.vm.maps_trie import TrieMap

    return {
        MapType.ARRAY: ArrayMap,
        MapType.PERCPU_ARRAY: ArrayMap,
        MapType.HASH: HashMap,
        MapType.PERCPU_HASH: HashMap,
        MapType.LRU_HASH: LruHashMap,
        MapType.LRU_PERCPU_HASH: LruHashMap,
        MapType.LPM_TRIE: TrieMap,
        MapType.QUEUE: QueueMap,
        MapType.STACK: StackMap,
        MapType.RINGBUF: RingMap,
        MapType.PERF_EVENT_ARRAY: PerfMap,
        MapType.PROG_ARRAY: ProgArray,
        MapType.SOCKMAP: SockArray,
        MapType.ARRAY_OF_MAPS: MapArray,
        MapType.HASH_OF_MAPS: HashOfMaps,
    }


def make_map(spec: MapSpec, memory: Memory, environment: Environment) -> MachineMap:
    """Make a map in ``memory``.

    Raises ``BpfError`` EINVAL for sizes and flags that the kernel refuses, ``UnsupportedObject`` for a type that the
    machine does not have.
    """
    factory = _factories().get(spec.type)
    if factory is None:
        raise UnsupportedObject(
            f"the built-in machine has no maps of type {spec.type.name}, which {spec.name!r} is"
        )
    return factory(spec, memory, environment)


def refuse(spec: MapSpec, why: str) -> BpfError:
    """The kernel's answer to a map that cannot be: EINVAL."""
    return BpfError(errno.EINVAL, Phase.MAP_CREATE, f"{spec.name!r} ({spec.type.name})", detail=why)


def user_view(map_: MachineMap) -> user.Map:
    """The map as Python sees it: the same classes as over the kernel's maps. Each call gives a new object over the
    same elements."""
    from pyebpf.runtime.vm.maps_user import present_map

    return present_map(map_)
