"""Maps of the kernel as typed Python mappings: every kind, batches, iteration under deletion, pins."""

from __future__ import annotations

import errno
import os
import socket
import struct
import subprocess
import sys
import textwrap
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeVar

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pyebpf import btf
from pyebpf.btf.encode import encode
from pyebpf.layout import BE16, U32, U64, BytesType, Layout, struct_type
from pyebpf.object import MapSpec
from pyebpf.runtime.cpus import possible_cpus
from pyebpf.runtime.errors import BpfError, LoadWarning, NotSupported, Phase
from pyebpf.runtime.events import RingBuf
from pyebpf.runtime.load import load
from pyebpf.runtime.map_create import MapBtf, create_map
from pyebpf.runtime.map_kinds import FdMap, ProgArray, Queue, SockMap, Stack
from pyebpf.runtime.maps import ArrayMap, HashMap, LpmTrie, Map, PerCpuArray, PerCpuHash
from pyebpf.runtime.pinned import open_pinned
from pyebpf.runtime.prog_load import load_btf
from pyebpf.uapi.constants import MapCreateFlag, MapType, MapUpdateFlag
from tests.kernel.runtime.objects import FRAME, an_object, counts_in, load_one, returns
from tests.kernel.runtime.places import pin_directory, scratch

ROOT = Path(__file__).parents[3]
CPUS = possible_cpus()
AnyMap = TypeVar("AnyMap", bound=Map)

FLOW = struct_type("flow", [("port", BE16), ("name", BytesType(6)), ("count", U64)])


def make(
    kind: type[AnyMap],
    map_type: MapType,
    key: Layout | None,
    value: Layout | None,
    entries: int = 8,
    flags: int = 0,
    key_size: int = 0,
    value_size: int = 0,
) -> AnyMap:
    """A new map, which must come as a ``kind``."""
    spec = MapSpec(
        "test",
        map_type,
        key.size if key else key_size,
        value.size if value else value_size,
        entries,
        flags,
        key,
        value,
    )
    made = create_map(spec)
    assert type(made) is kind
    return made


def test_a_hash_map_is_a_mapping() -> None:
    with make(HashMap, MapType.HASH, U32, U64, entries=3) as numbers:
        assert dict(numbers.items()) == {} and len(numbers) == 0 and bool(numbers)
        numbers[1] = 10
        numbers[2] = 20
        assert numbers[1] == 10
        assert 1 in numbers and 3 not in numbers
        assert numbers.get(3) is None and numbers.get(3, 7) == 7
        assert sorted(numbers) == sorted(numbers.keys()) == [1, 2]
        assert sorted(numbers.values()) == [10, 20]
        assert dict(numbers) == {1: 10, 2: 20}
        with pytest.raises(KeyError, match="3"):
            numbers[3]
        with pytest.raises(KeyError):
            del numbers[3]
        assert numbers.pop(1) == 10 and numbers.pop(1, None) is None
        with pytest.raises(KeyError):
            numbers.pop(1)
        del numbers[2]
        assert len(numbers) == 0
        assert numbers != {} and numbers == numbers and hash(numbers)


def test_update_flags_and_a_full_map() -> None:
    with make(HashMap, MapType.HASH, U32, U64, entries=2) as numbers:
        numbers.update(1, 1, MapUpdateFlag.NOEXIST)
        with pytest.raises(BpfError) as caught:
            numbers.update(1, 2, MapUpdateFlag.NOEXIST)
        assert (caught.value.errno, caught.value.phase) == (errno.EEXIST, Phase.MAP_UPDATE)
        with pytest.raises(BpfError) as caught:
            numbers.update(2, 2, MapUpdateFlag.EXIST)
        assert caught.value.errno == errno.ENOENT
        numbers[2] = 2
        with pytest.raises(BpfError) as caught:
            numbers[3] = 3
        assert caught.value.errno == errno.E2BIG
        assert "'test'" in str(caught.value)


def test_values_are_checked_and_never_cut() -> None:
    with make(HashMap, MapType.HASH, U32, U64) as numbers:
        for key, value, expected in [
            (1 << 32, 0, OverflowError),
            (-1, 0, OverflowError),
            ("1", 0, TypeError),
            (1, 1 << 64, OverflowError),
            (1, 1.5, TypeError),
        ]:
            with pytest.raises(expected):
                numbers[key] = value
        assert len(numbers) == 0


def test_structs_come_back_as_frozen_objects() -> None:
    with make(HashMap, MapType.HASH, FLOW, FLOW) as flows:
        flows[{"port": 443, "name": b"https", "count": 1}] = (80, b"http", 2)
        ((key, value),) = flows.items()
        assert (key.port, key.name, key.count) == (443, b"https", 1)
        assert value == flows[key]
        assert flows.elements.lookup(struct.pack(">H6s", 443, b"https") + struct.pack("=Q", 1)) is not None
        with pytest.raises(AttributeError):
            key.port = 1


def test_arrays_have_every_index() -> None:
    with make(ArrayMap, MapType.ARRAY, U32, U64, entries=5) as numbers:
        numbers[4] = 9
        assert len(numbers) == 5 and list(numbers) == [0, 1, 2, 3, 4]
        assert dict(numbers.items()) == {0: 0, 1: 0, 2: 0, 3: 0, 4: 9}
        assert 4 in numbers and 5 not in numbers and -1 not in numbers and "x" not in numbers
        for index in (5, -1):
            with pytest.raises(KeyError):
                numbers[index]
            with pytest.raises(KeyError):
                numbers[index] = 1
        for operation in (
            lambda: numbers.__delitem__(0),
            lambda: numbers.pop(0),
            lambda: numbers.delete_many([0]),
            lambda: numbers.drain(),
        ):
            with pytest.raises(TypeError, match="cannot be deleted"):
                operation()
        numbers.clear()
        assert set(numbers.values()) == {0}


def test_an_lru_map_throws_old_keys_out() -> None:
    with make(HashMap, MapType.LRU_HASH, U32, U64, entries=64) as numbers:
        for key in range(1000):
            numbers[key] = key
        assert 0 < len(numbers) <= 64
        assert all(key == value for key, value in numbers.items())


def test_per_cpu_array_and_hash() -> None:
    with make(PerCpuArray, MapType.PERCPU_ARRAY, U32, U64, entries=3) as numbers:
        values = tuple(range(100, 100 + CPUS))
        numbers[1] = values
        assert numbers[1] == values
        assert numbers.sum(1) == sum(values)
        assert numbers.sums() == {0: 0, 1: sum(values), 2: 0}
        assert numbers.reduce(1, max) == 100 + CPUS - 1
        with pytest.raises(ValueError, match="possible CPUs"):
            numbers[1] = (1,) * (CPUS + 1)
        with pytest.raises(TypeError, match="one for each possible CPU"):
            numbers[1] = 1
    # Values that are no multiple of 8 bytes are padded for each CPU.
    small = struct_type("small", [("a", U32), ("b", BytesType(2))], packed=True)
    with make(PerCpuHash, MapType.PERCPU_HASH, U64, small) as numbers:
        numbers[5] = [{"a": cpu, "b": b"x"} for cpu in range(CPUS)]
        ((key, found),) = numbers.items()
        assert key == 5 and [one.a for one in found] == list(range(CPUS))
        assert numbers.pop(5) == found
        assert len(numbers) == 0


def test_per_cpu_counts_add_up() -> None:
    counts = MapSpec("counts", MapType.PERCPU_ARRAY, 4, 8, 1, value=U64)
    with load(an_object(counts_in("counts"), maps=[counts])) as loaded:
        loaded.programs["prog"].run(FRAME, repeat=1000)
        found = loaded.maps["counts"]
        assert isinstance(found, PerCpuArray)
        assert found.sum(0) == 1000


def test_lpm_finds_the_longest_prefix() -> None:
    prefix = struct_type("prefix", [("bits", U32), ("address", BytesType(4))])
    with make(LpmTrie, MapType.LPM_TRIE, prefix, U32, flags=MapCreateFlag.NO_PREALLOC) as routes:
        routes[(8, socket.inet_aton("10.0.0.0"))] = 1
        routes[(16, socket.inet_aton("10.1.0.0"))] = 2
        assert routes[(32, socket.inet_aton("10.1.2.3"))] == 2
        assert routes[(32, socket.inet_aton("10.2.2.3"))] == 1
        with pytest.raises(KeyError):
            routes[(32, socket.inet_aton("11.0.0.1"))]
        assert {(key.bits, value) for key, value in routes.items()} == {(8, 1), (16, 2)}
        assert routes.pop((16, socket.inet_aton("10.1.0.0"))) == 2
        assert len(routes) == 1
        routes.clear()
        assert len(routes) == 0


@pytest.mark.parametrize(("map_type", "kind"), [(MapType.QUEUE, Queue), (MapType.STACK, Stack)])
def test_queues_and_stacks(map_type: MapType, kind: type[Queue] | type[Stack]) -> None:
    with make(kind, map_type, None, U64, entries=3) as line:
        with pytest.raises(IndexError, match="empty"):
            line.pop()
        with pytest.raises(IndexError, match="empty"):
            line.peek()
        for value in (1, 2, 3):
            line.push(value)
        with pytest.raises(BpfError) as caught:
            line.push(4)
        assert caught.value.errno == errno.E2BIG
        line.push(4, MapUpdateFlag.EXIST)
        expected = [2, 3, 4] if kind is Queue else [4, 3, 2]
        assert line.peek() == expected[0] == line.pop()
        assert list(line.drain()) == expected[1:]


def test_program_arrays_hold_programs() -> None:
    with (
        make(ProgArray, MapType.PROG_ARRAY, None, None, key_size=4, value_size=4) as table,
        load_one(returns(1)) as loaded,
    ):
        program = loaded.programs["prog"]
        table[3] = program
        table[4] = program.fd
        assert table[3] == program.info().id
        assert 3 in table and 2 not in table
        assert dict(table.items()) == {3: program.info().id, 4: program.info().id}
        del table[3]
        with pytest.raises(KeyError):
            del table[3]
        assert list(table) == [4]
        with pytest.raises(KeyError):
            table[3]


def test_sockets_go_into_a_sockmap() -> None:
    left, right = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    with left, right, make(SockMap, MapType.SOCKMAP, None, None, key_size=4, value_size=8) as sockets:
        sockets[0] = left
        sockets[1] = right.fileno()
        cookie = left.getsockopt(socket.SOL_SOCKET, 57, 8)
        assert sockets[0] == int.from_bytes(cookie, sys.byteorder)
        assert list(sockets) == [0, 1] and 2 not in sockets
        del sockets[0]
        with pytest.raises(KeyError):
            del sockets[0]
        assert len(sockets) == 1
        with pytest.raises(BpfError):
            sockets[0] = sockets
        right.close()
        assert len(sockets) == 0
    with make(SockMap, MapType.SOCKMAP, None, None, key_size=4, value_size=4) as sockets:
        for operation in (lambda: sockets[0], lambda: 0 in sockets, lambda: list(sockets)):
            with pytest.raises(NotSupported, match="8 bytes"):
                operation()


def test_maps_of_maps_take_maps() -> None:
    inner = MapSpec("inner", MapType.ARRAY, 4, 8, 1)
    outer = create_map(MapSpec("outer", MapType.HASH_OF_MAPS, 4, 4, 4, key=U32, inner=inner))
    assert type(outer) is FdMap
    with outer, create_map(inner) as first:
        outer[77] = first
        assert dict(outer.items()) == {77: first.info().id}
        del outer[77]
        assert 77 not in outer


def test_maps_without_layouts_give_bytes() -> None:
    with make(HashMap, MapType.HASH, None, None, key_size=3, value_size=5) as raw:
        raw[b"abc"] = bytearray(b"12345")
        assert dict(raw.items()) == {b"abc": b"12345"}
        with pytest.raises(ValueError, match="3 bytes are needed, not 4"):
            raw[b"abcd"]
        with pytest.raises(TypeError):
            raw["abc"]


def test_layouts_from_btf_serve_foreign_maps() -> None:
    pair = btf.Struct("pair", 8, (btf.Member("x", btf.U32, 0), btf.Member("y", btf.S32, 32)))
    spec = MapSpec("foreign", MapType.HASH, 4, 8, 4, key_type=btf.U32, value_type=pair)
    encoded = encode([btf.U32, pair])
    with load_btf(encoded.data) as types, create_map(spec, MapBtf(types, 1, 2)) as made:
        assert isinstance(made, HashMap)
        made[1] = {"x": 1, "y": -1}
        assert (made[1].x, made[1].y) == (1, -1)
        facts = made.info()
        assert facts.btf_id and facts.key_type_id and facts.value_type_id


def test_creation_goes_on_without_type_information_that_is_refused() -> None:
    wrong = btf.Struct("key", 4, (btf.Member("x", btf.U32, 0),))
    spec = MapSpec("array", MapType.ARRAY, 4, 8, 4, key_type=wrong, value_type=btf.U64)
    encoded = encode([wrong, btf.U64])
    with load_btf(encoded.data) as types, pytest.warns(LoadWarning, match="'array'.*EINVAL"):
        made = create_map(spec, MapBtf(types, 1, 2))
    assert made.info().btf_id == 0
    made.close()


def test_names_and_sizes_are_made_fit_for_the_kernel() -> None:
    spec = MapSpec("a map/with a long näme", MapType.RINGBUF, 0, 0, 5000)
    with create_map(spec) as ring:
        assert type(ring) is RingBuf
        assert ring.name == "a_map_with_a_lo"
        assert ring.max_entries == 8192
    with create_map(MapSpec("perf", MapType.PERF_EVENT_ARRAY, 4, 4, 0)) as perf:
        assert perf.max_entries == CPUS


def test_creation_errors_say_which_map() -> None:
    with pytest.raises(BpfError, match=r"create the map 'bad' \(HASH\): EINVAL") as caught:
        create_map(MapSpec("bad", MapType.HASH, 0, 8, 4))
    assert caught.value.phase is Phase.MAP_CREATE
    with pytest.raises(ValueError, match="key of map 'test' has 4 bytes, but u64 has 8"):
        create_map(MapSpec("test", MapType.HASH, 4, 8, 4, key=U64))


def test_a_frozen_map_is_read_only() -> None:
    with make(HashMap, MapType.HASH, U32, U64) as numbers:
        numbers[1] = 1
        assert not numbers.frozen
        numbers.freeze()
        assert numbers.frozen
        with pytest.raises(PermissionError, match="the map is frozen"):
            numbers[1] = 2
        assert numbers[1] == 1


def test_a_closed_map_is_never_somebody_elses() -> None:
    numbers = make(HashMap, MapType.HASH, U32, U64)
    numbers.close()
    numbers.close()
    with make(HashMap, MapType.HASH, U32, U64), pytest.raises(ValueError, match="closed"):
        numbers[1]
    assert "closed" in repr(numbers)


BATCHED = [
    (HashMap, MapType.HASH, 0),
    (HashMap, MapType.LRU_HASH, 0),
    (PerCpuHash, MapType.PERCPU_HASH, 0),
    (PerCpuHash, MapType.LRU_PERCPU_HASH, 0),
    (LpmTrie, MapType.LPM_TRIE, MapCreateFlag.NO_PREALLOC),
]


@pytest.mark.parametrize(("kind", "map_type", "flags"), BATCHED)
@pytest.mark.parametrize("batch", [True, False])
def test_many_elements_at_once(
    kind: type[HashMap], map_type: MapType, flags: int, batch: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not batch:
        from pyebpf.runtime import elements, syscall
        from pyebpf.uapi.constants import BpfCmd

        real = syscall.call
        refused = {c for c in BpfCmd if c.name.endswith("_BATCH")}
        monkeypatch.setattr(
            elements, "call", lambda cmd, attr, size=None: -524 if cmd in refused else real(cmd, attr, size)
        )
    key = struct_type("key", [("bits", U32), ("data", U32)])

    def value(n: int) -> Any:
        return (n,) * CPUS if kind is PerCpuHash else n

    def bits(found: Any) -> int:
        return int(found.data)

    with make(kind, map_type, key, U64, entries=6000, flags=flags) as numbers:
        numbers.update_many({(32, n): value(n) for n in range(3000)}.items())
        assert len(numbers) == 3000
        found = {bits(k): v for k, v in numbers.items()}
        assert found == {n: value(n) for n in range(3000)}
        assert numbers.delete_many([(32, n) for n in range(2000)] + [(32, 0)]) == 2000
        assert sorted(map(bits, numbers)) == list(range(2000, 3000))
        drained = {bits(k): v for k, v in numbers.drain()}
        assert drained == {n: value(n) for n in range(2000, 3000)}
        assert len(numbers) == 0
        numbers.update_many([((32, 1), value(1))])
        numbers.clear()
        assert list(numbers.items()) == []


def test_a_failing_batch_says_how_far_it_came() -> None:
    with make(HashMap, MapType.HASH, U32, U64, entries=10) as numbers:
        with pytest.raises(BpfError, match="after 10 of 20 elements") as caught:
            numbers.update_many((n, n) for n in range(20))
        assert caught.value.errno == errno.E2BIG
        with pytest.raises(BpfError) as caught:
            numbers.update_many([(1, 1)], flags=1 << 20)
        assert caught.value.errno == errno.EINVAL
        numbers.update_many([])


@pytest.mark.parametrize(("kind", "map_type", "flags"), [BATCHED[0], BATCHED[4]])
def test_iteration_while_elements_are_deleted(kind: type[HashMap], map_type: MapType, flags: int) -> None:
    key = struct_type("key", [("bits", U32), ("data", U32)])
    with make(kind, map_type, key, U32, entries=4096, flags=flags) as numbers:
        numbers.update_many({(32, n): n for n in range(1000)}.items())
        seen: list[int] = []
        for found in numbers:
            seen.append(found.data)
            del numbers[found]
        assert sorted(seen) == list(range(1000)) and len(numbers) == 0

        # Odd elements stay; another thread deletes the even ones meanwhile. No odd one may be missed or
        # doubled.
        numbers.update_many({(32, n): n for n in range(2000)}.items())
        thread = threading.Thread(target=lambda: [numbers.pop((32, n)) for n in range(0, 2000, 2)])
        walk = numbers.elements.walk()
        seen = [struct.unpack("=II", next(walk))[1] for _ in range(10)]
        thread.start()
        seen += [struct.unpack("=II", one)[1] for one in walk]
        thread.join()
        assert sorted(n for n in seen if n % 2) == list(range(1, 2000, 2))
        assert len(seen) == len(set(seen))


@settings(max_examples=30, deadline=None)
@given(st.dictionaries(st.integers(0, 2**32 - 1), st.integers(-(2**63), 2**63 - 1), max_size=200), st.data())
def test_a_map_behaves_like_a_dict(contents: dict[int, int], data: st.DataObject) -> None:
    from pyebpf.layout import I64

    with make(HashMap, MapType.HASH, U32, I64, entries=256) as numbers:
        numbers.update_many(contents)
        model = dict(contents)
        for key in data.draw(st.lists(st.sampled_from(sorted(model)), max_size=20) if model else st.just([])):
            assert numbers.pop(key, None) == model.pop(key, None)
        assert dict(numbers.items()) == model
        assert len(numbers) == len(model)


def reopened(path: str) -> Iterator[str]:
    """What another process finds at ``path``."""
    code = f"""
        from pyebpf.layout import U32, U64
        from pyebpf.runtime.pinned import open_pinned
        with open_pinned({path!r}, key=U32, value=U64) as found:
            print(type(found).__name__, dict(found.items()))
    """
    yield from subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    ).stdout.splitlines()


def test_pinned_maps_are_found_by_other_processes() -> None:
    with pin_directory() as directory:
        path = str(directory / "deeper" / "numbers")
        with make(HashMap, MapType.HASH, U32, U64) as numbers:
            numbers[1] = 11
            numbers.pin(path)
            with pytest.raises(BpfError) as caught:
                numbers.pin(path)
            assert caught.value.errno == errno.EEXIST
        assert list(reopened(path)) == ["HashMap {1: 11}"]
        with pytest.raises(ValueError, match="value of map 'test' has 8 bytes"):
            open_pinned(path, value=U32)
        os.unlink(path)
        with pytest.raises(BpfError) as caught:
            open_pinned(path)
        assert caught.value.errno == errno.ENOENT


def test_bad_pins_say_why() -> None:
    with make(HashMap, MapType.HASH, U32, U64) as numbers, pin_directory() as directory, scratch() as other:
        with pytest.raises(BpfError, match=r"no `\.` in names"):
            numbers.pin(directory / "my.map")
        with pytest.raises(BpfError, match="not in a bpffs file system"):
            numbers.pin(other / "map")
        with pytest.raises(BpfError, match="ENOENT"):
            numbers.pin(other / "missing" / "map")
