"""Helpers of the machine that need no kernel to be judged: loops, records, locks, the environment, text, refusals."""

from __future__ import annotations

import errno
import random
import struct

import pytest

from pyebpf.object import MapSpec
from pyebpf.runtime.errors import BpfError
from pyebpf.runtime.vm.contexts import make_context
from pyebpf.runtime.vm.environment import Environment
from pyebpf.runtime.vm.errors import BadArgument, MissingHelper, OutOfBounds
from pyebpf.runtime.vm.helpers import HELPERS
from pyebpf.runtime.vm.maps_array import MapArray, SockArray
from pyebpf.runtime.vm.memory import Memory
from pyebpf.uapi.constants import MapType, ProgType
from pyebpf.uapi.helpers import helper_by_name
from tests.unit.vm_world.worlds import World

HASH = MapSpec("hash", MapType.HASH, 4, 8, 8)


def test_every_helper_is_in_the_table_under_its_number() -> None:
    def name(number: int) -> str:
        return HELPERS[number].__name__

    assert (name(1), name(26), name(181), name(189)) == (
        "map_lookup_elem",
        "skb_load_bytes",
        "loop",
        "xdp_load_bytes",
    )
    assert 12 not in HELPERS, "tail calls are the machine's own"
    assert len(HELPERS) >= 65


def test_helpers_that_cannot_be_done_honestly_are_missing() -> None:
    for missing in (
        "get_current_task",
        "fib_lookup",
        "clone_redirect",
        "probe_read_kernel",
        "get_socket_cookie",
    ):
        found = helper_by_name(missing)
        assert found is not None
        assert found.id not in HELPERS


def test_a_loop_ends_when_the_callback_says_so() -> None:
    seen: list[int] = []

    def callback(function: int, index: int, state: int, *rest: int) -> int:
        assert (function, state) == (77, 5)
        seen.append(index)
        return int(index == 3)

    world = World(callback=callback)
    assert world.help("loop", (10, 77, 5, 0)) == 4
    assert world.help("loop", (3, 77, 5, 0)) == 3
    assert seen == [0, 1, 2, 3, 0, 1, 2]
    assert world.help("loop", (1, 77, 5, 1)) == -errno.EINVAL
    assert world.help("loop", ((1 << 23) + 1, 77, 5, 0)) == -errno.E2BIG


def test_elements_may_be_deleted_while_they_are_visited() -> None:
    world = World()
    table = world.map(HASH)
    for number in range(4):
        table.update(struct.pack("=I", number), struct.pack("=Q", number * 10), 0)
    seen: list[tuple[int, int]] = []

    def callback(function: int, map_: int, key: int, value: int, state: int, *rest: int) -> int:
        number = struct.unpack("=I", world.memory.read(key, 4))[0]
        seen.append((number, struct.unpack("=Q", world.memory.read(value, 8))[0]))
        assert map_ == table.address
        table.delete(struct.pack("=I", number))
        table.delete(struct.pack("=I", 3))
        return int(number == 2)

    world.callback = callback
    assert world.help("for_each_map_elem", (table, 1, 0, 0)) == 3
    assert seen == [(0, 0), (1, 10), (2, 20)]
    assert world.help("for_each_map_elem", (table, 1, 0, 1)) == -errno.EINVAL


def test_records_are_reserved_filled_and_submitted() -> None:
    world = World()
    ring = world.map(MapSpec("ring", MapType.RINGBUF, 0, 0, 4096))
    record = world.help("ringbuf_reserve", (ring, 4, 0))
    world.memory.write(record, b"abcd")
    assert world.help("ringbuf_query", (ring, 0)) == 16
    assert world.help("ringbuf_submit", (record, 0)) == 0
    with pytest.raises(BadArgument, match="no reserved record"):
        world.help("ringbuf_submit", (record, 0))
    with pytest.raises(OutOfBounds):
        world.memory.read(record, 1)
    with pytest.raises(BadArgument, match="no ring buffer"):
        world.help("ringbuf_reserve", (world.map(HASH), 4, 0))


def test_a_lock_is_not_taken_twice() -> None:
    world = World()
    lock = world.bytes(bytes(4))
    world.help("spin_lock", (lock,))
    with pytest.raises(BadArgument, match="held already"):
        world.help("spin_lock", (lock,))
    world.help("spin_unlock", (lock,))
    assert lock.data == bytes(4)
    with pytest.raises(BadArgument, match="not held"):
        world.help("spin_unlock", (lock,))


def test_an_inner_map_can_be_used_once_it_was_looked_up() -> None:
    world = World()
    inner, outer = world.map(HASH), world.map(MapSpec("outer", MapType.ARRAY_OF_MAPS, 4, 4, 2))
    del world.run.maps[inner.address]
    assert isinstance(outer, MapArray)
    number = outer.number_of(inner)
    outer.elements.update(struct.pack("=I", 1), struct.pack("=I", number))
    assert world.help("map_lookup_elem", (outer, world.bytes(struct.pack("=I", 1)))) == inner.address
    assert world.run.maps[inner.address] is inner


def test_the_environment_answers() -> None:
    printed: list[str] = []
    chance = random.Random(1)
    environment = Environment(
        clock=lambda: 5_000_000_000,
        tai=lambda: 7,
        random=chance.getrandbits,
        cpu=1,
        cpus=2,
        numa_node=3,
        pid=10,
        uid=20,
        gid=30,
        comm=b"a-rather-long-name",
        print=printed.append,
    )
    world = World(environment=environment)
    assert [world.help(name) for name in ("ktime_get_ns", "ktime_get_boot_ns", "ktime_get_coarse_ns")] == [
        5_000_000_000
    ] * 3
    assert world.help("ktime_get_tai_ns") == 7
    assert world.help("jiffies64") == (1 << 32) - 300 * 250 + 5 * 250
    assert world.help("get_prandom_u32") == random.Random(1).getrandbits(32)
    assert world.help("get_smp_processor_id") == 1
    assert world.help("get_numa_node_id") == 3
    assert world.help("get_current_pid_tgid") == 10 << 32 | 10
    assert world.help("get_current_uid_gid") == 30 << 32 | 20
    name = world.bytes(b"x" * 16)
    assert world.help("get_current_comm", (name, 16)) == 0
    assert bytes(name.data) == b"a-rather-long-n\0"
    text = world.bytes(b"%d of %s\n\0")
    assert world.help("trace_printk", (text, 10, -1, world.bytes(b"two\0"))) == 10
    assert world.help("trace_vprintk", (text, 10, world.bytes(bytes(8)), 8)) == -errno.EINVAL
    assert world.help("trace_printk", (text, 5)) == -errno.EINVAL
    assert printed == ["-1 of two"]


def test_a_pointer_from_before_a_change_of_the_packet_misses() -> None:
    world = World(data=bytes(12) + b"\x08\x00" + bytes(50))
    fields = struct.Struct("=I")
    start = fields.unpack(world.memory.read(world.context.address + 76, 4))[0]
    assert world.memory.read(start, 1) == b"\0"
    assert world.help("skb_store_bytes", (world.context.address, 0, world.bytes(b"\x05"), 1, 0)) == 0
    with pytest.raises(OutOfBounds):
        world.memory.read(start, 1)
    start, end = (fields.unpack(world.memory.read(world.context.address + at, 4))[0] for at in (76, 80))
    assert world.memory.read(start, 1) == b"\x05"
    assert end - start == 64
    with pytest.raises(OutOfBounds, match="the packet, which has 64 bytes"):
        world.memory.read(start, 65)


def test_many_changes_do_not_run_out_of_low_addresses() -> None:
    world = World(ProgType.XDP)
    for _ in range(1000):
        assert world.help("xdp_adjust_head", (world.context.address, -1)) == 0
        assert world.help("xdp_adjust_head", (world.context.address, 1)) == 0
    assert world.context.results()[0] == bytes(64)


def test_the_context_must_be_the_programs() -> None:
    world = World()
    with pytest.raises(BadArgument, match="is not the context"):
        world.help("skb_pull_data", (world.context.address + 8, 0))
    with pytest.raises(BadArgument, match="not the context of an XDP program"):
        world.help("xdp_adjust_head", (world.context.address, 0))
    with pytest.raises(BadArgument, match="is no map"):
        world.help("map_lookup_elem", (5, world.bytes(bytes(8))))


def test_a_hash_that_the_kernel_would_make_up_is_missing() -> None:
    world = World()
    ctx = world.context.address
    with pytest.raises(MissingHelper, match="get_hash_recalc"):
        world.help("get_hash_recalc", (ctx,))
    world.help("set_hash", (ctx, 77))
    assert world.help("get_hash_recalc", (ctx,)) == 77
    world.help("set_hash_invalid", (ctx,))
    with pytest.raises(MissingHelper):
        world.help("get_hash_recalc", (ctx,))


def test_a_stream_program_gets_all_of_its_data() -> None:
    world = World(ProgType.SK_SKB, b"GET / HTTP/1.1")
    ctx = world.context.address
    buffer = world.bytes(bytes(3))
    assert world.help("skb_load_bytes", (ctx, 0, buffer, 3)) == 0
    assert bytes(buffer.data) == b"GET"
    assert world.help("skb_adjust_room", (ctx, -4, 0, 0)) == 0
    assert world.help("skb_adjust_room", (ctx, 1, 0, 0)) == 0
    assert world.help("skb_adjust_room", (ctx, -50, 0, 0)) == -errno.ENOMEM
    assert world.help("skb_adjust_room", (ctx, 0, 1, 0)) == -errno.EINVAL
    assert world.context.results()[0] == b"\0/ HTTP/1.1"
    sockets = world.map(MapSpec("socks", MapType.SOCKMAP, 4, 4, 2))
    assert world.help("sk_redirect_map", (ctx, sockets, 1, 0)) == 0
    assert isinstance(sockets, SockArray)
    number = sockets.number_of("a socket")
    sockets.elements.update(struct.pack("=I", 1), struct.pack("=I", number))
    assert world.help("sk_redirect_map", (ctx, sockets, 1, 0)) == 1
    assert world.help("sk_redirect_map", (ctx, sockets, 1, 2)) == 0


def test_runs_that_are_refused_leave_nothing_behind() -> None:
    memory = Memory()
    frame = bytes(12) + b"\x08\x00" + bytes(50)
    wrong = bytes(24) + b"\1" + bytes(167)
    for _ in range(300):
        for prog_type, data, ctx in (
            (ProgType.SCHED_CLS, frame, wrong),
            (ProgType.SOCKET_FILTER, frame[:20], None),
            (ProgType.XDP, frame, bytes(8) + b"\1" + bytes(15)),
            (ProgType.XDP, frame[:5], None),
        ):
            with pytest.raises(BpfError) as refused:
                make_context(memory, prog_type, None, data, ctx)
            assert refused.value.errno == errno.EINVAL
    assert not memory.pages
