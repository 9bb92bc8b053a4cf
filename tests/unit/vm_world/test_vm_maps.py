"""Maps of the machine: where values live and how long, eviction, ring buffers, objects, what is refused."""

from __future__ import annotations

import errno
import gc
import struct
import threading

import pytest

from pyebpf.layout import U32, U64
from pyebpf.object import MapSpec
from pyebpf.runtime.errors import BpfError, NotInKernel, PermissionDenied, UnsupportedObject
from pyebpf.runtime.events import RingBuf
from pyebpf.runtime.map_kinds import FdMap, ProgArray
from pyebpf.runtime.maps import HashMap, PerCpuArray, PerCpuHash
from pyebpf.runtime.vm import maps_array
from pyebpf.runtime.vm.environment import Environment
from pyebpf.runtime.vm.errors import BadArgument, OutOfBounds, ReadOnly
from pyebpf.runtime.vm.maps import MachineMap, make_map, user_view
from pyebpf.runtime.vm.maps_ring import RingMap
from pyebpf.runtime.vm.memory import PAGE_BITS, Memory
from pyebpf.uapi.constants import MapCreateFlag, MapType, MapUpdateFlag


def key(number: int) -> bytes:
    return struct.pack("=I", number)


def make(
    map_type: MapType,
    *,
    entries: int = 4,
    key_size: int = 4,
    value_size: int = 8,
    flags: int = 0,
    memory: Memory | None = None,
    environment: Environment | None = None,
) -> MachineMap:
    spec = MapSpec("test", map_type, key_size, value_size, entries, flags)
    return make_map(spec, memory or Memory(), environment or Environment(cpus=2))


def ring(size: int = 4096) -> RingMap:
    made = make(MapType.RINGBUF, entries=size, key_size=0, value_size=0)
    assert isinstance(made, RingMap)
    return made


def test_a_program_cannot_read_at_the_address_of_a_map() -> None:
    memory = Memory()
    made = make(MapType.ARRAY, memory=memory)
    with pytest.raises(OutOfBounds, match="the map 'test', which has 0 bytes"):
        memory.read(made.address, 1)


def test_a_big_array_takes_memory_only_for_what_is_used() -> None:
    memory = Memory()
    made = make(MapType.ARRAY, entries=1_000_000, memory=memory)
    before = len(memory.pages)
    assert made.lookup(key(999_999)) != 0
    assert made.lookup(key(1_000_000)) == 0
    assert len(memory.pages) == before + 1


def test_what_is_behind_a_value_is_not_the_next_value() -> None:
    memory = Memory()
    made = make(MapType.ARRAY, value_size=5, memory=memory)
    address = made.lookup(key(0))
    memory.write(address, b"12345")
    with pytest.raises(OutOfBounds, match="a value of the map 'test', which has 5 bytes"):
        memory.read(address, 6)


def test_the_value_of_a_deleted_key_stays_until_the_run_ends() -> None:
    memory = Memory()
    made = make(MapType.HASH, memory=memory)
    made.update(key(1), b"12345678", 0)
    address = made.lookup(key(1))
    assert made.delete(key(1)) == 0
    assert memory.read(address, 8) == b"12345678"
    memory.sweep()
    with pytest.raises(OutOfBounds):
        memory.read(address, 8)


def test_replacing_a_value_leaves_the_old_one_to_who_points_at_it() -> None:
    memory = Memory()
    made = make(MapType.HASH, memory=memory)
    made.update(key(1), bytes(8), 0)
    old = made.lookup(key(1))
    made.update(key(1), b"12345678", 0)
    assert made.lookup(key(1)) != old
    assert memory.read(old, 8) == bytes(8)


def test_a_map_that_programs_only_read() -> None:
    memory = Memory()
    made = make(MapType.ARRAY, flags=MapCreateFlag.RDONLY_PROG, memory=memory)
    made.elements.update(key(0), bytes(8))
    with pytest.raises(ReadOnly):
        memory.write(made.lookup(key(0)), b"1")


def test_per_cpu_values_are_those_of_the_cpu_that_runs() -> None:
    environment = Environment(cpus=3, cpu=1)
    for map_type in (MapType.PERCPU_ARRAY, MapType.PERCPU_HASH):
        made = make(map_type, environment=environment, value_size=4)
        made.update(key(2), b"abcd", 0)
        view = user_view(made)
        assert isinstance(view, PerCpuArray | PerCpuHash)
        assert view[bytes(key(2)) if map_type is MapType.PERCPU_HASH else 2] == (bytes(4), b"abcd", bytes(4))
        assert made.lookup(key(2)) == made.lookup_on(key(2), 1) != made.lookup_on(key(2), 0)
        assert made.lookup_on(key(2), 3) == 0
        environment.cpu = 2
        assert made.lookup(key(2)) == made.lookup_on(key(2), 2)
        environment.cpu = 1


def test_a_full_lru_map_throws_out_what_was_used_longest_ago() -> None:
    made = make(MapType.LRU_HASH, entries=3)
    for number in range(3):
        made.update(key(number), bytes(8), 0)
    made.lookup(key(0))
    made.update(key(1), bytes(8), 0)
    assert made.update(key(9), bytes(8), 0) == 0
    assert [made.lookup(key(number)) != 0 for number in (0, 1, 2, 9)] == [True, True, False, True]


def test_the_errors_of_updates() -> None:
    array, table = make(MapType.ARRAY), make(MapType.HASH, entries=1)
    assert array.update(key(4), bytes(8), 0) == -errno.E2BIG
    assert array.update(key(0), bytes(8), MapUpdateFlag.NOEXIST) == -errno.EEXIST
    assert array.delete(key(0)) == -errno.EINVAL
    assert table.update(key(0), bytes(8), MapUpdateFlag.EXIST) == -errno.ENOENT
    assert table.update(key(0), bytes(8), MapUpdateFlag.NOEXIST) == 0
    assert table.update(key(0), bytes(8), MapUpdateFlag.NOEXIST) == -errno.EEXIST
    assert table.update(key(1), bytes(8), 0) == -errno.E2BIG
    assert table.update(key(0), bytes(8), MapUpdateFlag.LOCK) == -errno.EINVAL
    assert table.delete(key(7)) == -errno.ENOENT


def test_the_longest_prefix_wins_and_longer_ones_come_first() -> None:
    trie = make(MapType.LPM_TRIE, key_size=8, flags=MapCreateFlag.NO_PREALLOC)
    prefixes = [(8, 10, 0), (16, 10, 1), (0, 0, 0), (32, 10, 1)]
    for length, one, two in prefixes:
        trie.update(struct.pack("=IBBBB", length, one, two, 0, 0), length.to_bytes(8, "little"), 0)
    found = user_view(trie).elements.lookup(struct.pack("=IBBBB", 32, 10, 1, 0, 1))
    assert found == (16).to_bytes(8, "little")
    assert [int.from_bytes(k[:4], "little") for k in trie.elements.walk()] == [32, 16, 8, 0]
    assert trie.update(bytes(8), bytes(8), MapUpdateFlag.NOEXIST) == -errno.EEXIST
    assert trie.update(struct.pack("=II", 9, 0), bytes(8), 0) == -errno.ENOSPC


def test_a_ring_buffer_counts_as_the_kernel_does() -> None:
    made = ring(4000)
    assert made.size == 4096
    assert made.output(b"x" * 9, 0) == 0
    assert made.produced == 24
    assert made.output(bytes(4096 - 24 - 8), 0) == -errno.EAGAIN
    assert made.output(bytes(4096 - 24 - 16), 0) == 0
    assert made.reserve(0, 0) == 0
    view = user_view(made)
    assert isinstance(view, RingBuf)
    assert [len(record) for record in view.poll(0)] == [9, 4056]
    assert (made.query(0), made.query(1), made.query(2), made.query(3), made.query(9)) == (
        0,
        4096,
        4088,
        4088,
        0,
    )
    assert made.reserve(5000, 0) == 0
    assert made.reserve(8, 1) == 0


def test_records_come_in_the_order_of_reservation() -> None:
    made = ring()
    view = user_view(made)
    assert isinstance(view, RingBuf)
    first, second = made.reserve(4, 0), made.reserve(4, 0)
    made.memory.write(second, b"next")
    assert made.commit(second, discard=False)
    assert list(view.poll(0)) == []
    assert made.commit(first, discard=True)
    assert list(view.poll(0)) == [b"next"]
    assert not made.commit(first, discard=False)
    with pytest.raises(OutOfBounds):
        made.memory.read(first, 1)


def test_a_consumer_waits_for_a_program_in_another_thread() -> None:
    made = ring()
    view = user_view(made)
    assert isinstance(view, RingBuf)
    later = threading.Timer(0.05, made.output, (b"late", 0))
    later.start()
    assert next(view.poll(10)) == b"late"
    later.join()


def test_programs_in_an_array() -> None:
    made = make(MapType.PROG_ARRAY, value_size=4)
    assert isinstance(made, maps_array.ProgArray)
    view = user_view(made)
    assert isinstance(view, ProgArray)
    one, other = object(), object()
    view[1], view[2] = one, other
    assert (made.program(0), made.program(1), made.program(2)) == (None, one, other)
    assert list(view) == [1, 2]
    assert view[1] != view[2]
    del view[1]
    assert made.program(1) is None
    assert 1 not in view
    with pytest.raises(KeyError):
        del view[1]


@pytest.mark.parametrize("map_type", [MapType.ARRAY_OF_MAPS, MapType.HASH_OF_MAPS])
def test_maps_in_maps(map_type: MapType) -> None:
    memory = Memory()
    inner = make(MapType.ARRAY, memory=memory)
    outer = make(map_type, value_size=4, memory=memory)
    view = user_view(outer)
    assert isinstance(view, FdMap)
    view[key(1) if map_type is MapType.HASH_OF_MAPS else 1] = user_view(inner)
    assert outer.lookup(key(1)) == inner.address
    assert outer.inner(inner.address) is inner
    assert outer.lookup(key(2)) == 0


def test_a_view_has_no_descriptor() -> None:
    view = user_view(make(MapType.ARRAY))
    with pytest.raises(NotInKernel, match="the map 'test' lives in the built-in machine"):
        _ = view.fd
    with pytest.raises(NotInKernel):
        view.fileno()
    with pytest.raises(NotInKernel):
        view.pin("/sys/fs/bpf/test")
    view.close()
    assert repr(view) == "<ArrayMap 'test' ARRAY, 4 entries, closed>"


def test_views_share_the_elements() -> None:
    spec = MapSpec("test", MapType.HASH, 4, 8, 4, key=U32, value=U64)
    made = make_map(spec, Memory(), Environment())
    one, other = user_view(made), user_view(made)
    assert isinstance(one, HashMap)
    assert isinstance(other, HashMap)
    one[5] = 6
    one.close()
    assert dict(other.items()) == {5: 6}
    other.freeze()
    with pytest.raises(PermissionDenied, match="the map is frozen"):
        one[5] = 7


def test_what_there_is_not_is_said() -> None:
    with pytest.raises(UnsupportedObject, match="no maps of type DEVMAP, which 'test' is"):
        make(MapType.DEVMAP, value_size=4)
    with pytest.raises(BpfError) as refused:
        make(MapType.ARRAY, key_size=8)
    assert refused.value.errno == errno.EINVAL
    with pytest.raises(BadArgument, match=r"the map 'test' \(QUEUE\) cannot be looked up by a program"):
        make(MapType.QUEUE, key_size=0).lookup(b"")
    with pytest.raises(BadArgument, match="popped"):
        make(MapType.HASH).pop()


def test_a_map_that_nobody_refers_to_gives_its_memory_back() -> None:
    memory = Memory()
    for map_type in (MapType.ARRAY, MapType.HASH, MapType.PERCPU_HASH, MapType.LRU_HASH):
        made = make(map_type, memory=memory)
        made.update(key(1), bytes(8), 0)
        view = user_view(made)
        assert len(memory.pages) > 1
        del made
        assert len(memory.pages) > 1
        del view
        gc.collect()
        memory.sweep()
        assert not memory.pages


def test_closing_a_map_gives_its_memory_back() -> None:
    for map_type in (MapType.ARRAY, MapType.HASH, MapType.PERCPU_HASH, MapType.LRU_HASH):
        memory = Memory()
        made = make(map_type, memory=memory)
        made.update(key(1), bytes(8), 0)
        made.close()
        memory.sweep()
        assert list(memory.regions.values()) == [memory.regions[made.address >> PAGE_BITS]]
