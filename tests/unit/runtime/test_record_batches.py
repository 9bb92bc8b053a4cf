"""Finding and decoding many records at once: the same records as one by one, whatever lies between them."""

from __future__ import annotations

import struct
import sys
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import pyebpf as bpf
from pyebpf import be16, be32, i8, le32, u8, u16, u32, u64
from pyebpf.lang import layout_of
from pyebpf.layout import BE64, U16, U32, U64, ArrayType, BytesType, Layout, StructType, struct_type
from pyebpf.runtime.errors import BpfError
from pyebpf.runtime.map_codec import codec_for
from pyebpf.runtime.perf_memory import SAMPLE_HEADER, samples
from pyebpf.runtime.record_batches import Batch, EventCodec, Run, same_at_start
from pyebpf.runtime.ring_memory import committed

BUSY, DISCARD = 1 << 31, 1 << 30
LENGTHS = st.one_of(st.just(24), st.just(24), st.integers(0, 70))
"""Mostly alike, as events are."""


def records_of(batch: Batch) -> list[bytes]:
    codec = EventCodec(None)
    return [record for run in batch.runs for record in codec.objects(batch, run)]


# ---------------------------------------------------------------- ring buffers


class Ring:
    """The records' area of a ring buffer of the kernel, twice in a row."""

    def __init__(self, size: int, position: int) -> None:
        self.size = size
        self.data = bytearray(2 * size)
        self.start = self.produced = position

    def put(self, header: int, payload: bytes) -> bool:
        length = (len(payload) + 15) & ~7
        if self.produced + length - self.start > self.size:
            return False
        record = struct.pack("=II", header | len(payload), 7) + payload.ljust(length - 8, b"\xaa")
        for index, byte in enumerate(record):
            at = (self.produced + index) % self.size
            self.data[at] = self.data[at + self.size] = byte
        self.produced += length
        return True

    def read(self, most: int) -> tuple[Batch, int]:
        start = self.start % self.size
        end = start + min(self.produced - self.start, most)
        runs, stop = committed(memoryview(self.data).cast("I"), start, end)
        return Batch(bytes(self.data[start:stop]), 8, runs), stop - start


PIECES = st.lists(
    st.tuples(st.sampled_from([0, 0, 0, 0, 0, DISCARD, BUSY]), LENGTHS), min_size=0, max_size=150
)


@settings(max_examples=200, deadline=None)
@given(PIECES, st.integers(0, 1 << 14), st.integers(8, 5000))
def test_a_ring_is_read_up_to_the_first_unfinished_record(
    pieces: list[tuple[int, int]], position: int, most: int
) -> None:
    ring = Ring(4096, position & ~7)
    expected: list[bytes] = []
    waiting = False
    for number, (mark, length) in enumerate(pieces):
        payload = bytes([number]) * length
        if ring.put(mark, payload):
            waiting = waiting or mark == BUSY
            if not waiting and mark == 0:
                expected.append(payload)
    found: list[bytes] = []
    while True:
        batch, used = ring.read(most)
        assert batch.count == len(records_of(batch))
        found += records_of(batch)
        if not used:
            break
        ring.start += used
    assert found == expected


def test_records_alike_are_one_run() -> None:
    ring = Ring(1 << 16, 0)
    while ring.put(0, bytes(24)):
        pass
    batch, used = ring.read(1 << 20)
    assert used == 1 << 16
    assert batch.runs == [Run(0, 32, 24, 2048)]


def test_data_that_looks_like_a_header_is_none() -> None:
    ring = Ring(4096, 0)
    for length in (8, 24, 8, 8, 24):
        ring.put(0, struct.pack("=II", 8, 7) * (length // 8))
    batch, _ = ring.read(4096)
    assert [len(record) for record in records_of(batch)] == [8, 24, 8, 8, 24]


@given(st.integers(0, 300), st.integers(0, 300))
def test_same_at_start_counts(same: int, others: int) -> None:
    assert same_at_start(b"abcd" * same + b"abce" * others, b"abcd") == same


# ---------------------------------------------------------------- perf buffers


def sample(payload: bytes, misc: int = 1) -> bytes:
    raw = (4 + len(payload) + 7) // 8 * 8
    return struct.pack("=IHHI", 9, misc, 8 + raw, raw - 4) + payload.ljust(raw - 4, b"\0")


@settings(max_examples=100, deadline=None)
@given(
    st.lists(
        st.tuples(st.sampled_from(["sample", "sample", "sample", "lost", "other"]), LENGTHS), max_size=200
    )
)
def test_perf_records_of_all_kinds(pieces: list[tuple[str, int]]) -> None:
    data = b""
    expected: list[bytes] = []
    lost = 0
    for number, (kind, length) in enumerate(pieces):
        payload = bytes([number % 256]) * length
        if kind == "sample":
            data += sample(payload, misc=number % 2)
            expected.append(payload.ljust(((length + 11) & ~7) - 4, b"\0"))
        elif kind == "lost":
            data += struct.pack("=IHHQQ", 2, 0, 24, 5, length)
            lost += length
        else:
            data += struct.pack("=IHH", 4, 0, 16) + bytes(8)
    runs, found, end = samples(data, len(data))
    assert (found, end) == (lost, len(data))
    assert records_of(Batch(data, SAMPLE_HEADER, runs)) == expected


def test_what_is_no_perf_record_is_told() -> None:
    with pytest.raises(BpfError, match="a record of 0 bytes at 0 is no record"):
        samples(bytes(16), 16)


# ---------------------------------------------------------------- values


@bpf.struct
class Point:
    x: u16
    y: i8


@bpf.struct
class Event:
    time: u64
    port: be16
    address: be32
    small: le32
    point: Point
    points: tuple[Point, ...] = bpf.array(Point, 2)
    name: bytes = bpf.chars(5)
    words: tuple[int, ...] = bpf.array(u32, 3)
    last: u8


@bpf.struct(packed=True)
class Packed:
    a: u8
    b: u64


@bpf.union
class Either:
    a: u8
    b: u32


@bpf.struct
class Large:
    point: Point
    points: tuple[Point, ...] = bpf.array(Point, 1)
    words: tuple[int, ...] = bpf.array(u32, 300)
    either: Either


KERNEL = struct_type("kernel", [("low", U32), ("class", U16)])
LAYOUTS: list[Layout] = [
    layout_of(Event),
    layout_of(Packed),
    layout_of(Either),
    KERNEL,
    U64,
    BE64,
    BytesType(11),
    ArrayType(U16, 3),
    ArrayType(U64, 300),
    ArrayType(U16, 0),
    struct_type("open_ended", [("low", U32), ("rest", ArrayType(U16, 0))]),
    layout_of(Large),
    ArrayType(layout_of(Point), 2),
]


def batch_of(layout: Layout, count: int, header: int, fill: bytes) -> tuple[Batch, Run]:
    stride = (layout.size + header + 7) & ~7
    data = bytes(fill[i % len(fill)] for i in range(count * stride))
    run = Run(0, stride, layout.size, count)
    return Batch(data, header, [run]), run


@pytest.mark.parametrize("layout", LAYOUTS, ids=lambda layout: layout.name)
@pytest.mark.parametrize("header", [8, 12])
def test_events_are_what_the_codec_makes(layout: Layout, header: int) -> None:
    batch, run = batch_of(layout, 7, header, bytes(range(1, 252)))
    codec = codec_for(layout, layout.size)
    expected = [codec.decode(batch.data, at * run.stride + header) for at in range(7)]
    assert EventCodec(layout).objects(batch, run) == expected


def test_events_can_be_changed_and_values_of_maps_cannot() -> None:
    batch, run = batch_of(layout_of(Event), 2, 8, b"\0")
    first, second = EventCodec(layout_of(Event)).objects(batch, run)
    first.time = 5
    first.point.x = 6
    assert (first.time, second.time) == (5, 0)
    large, _ = EventCodec(layout_of(Large)).objects(*batch_of(layout_of(Large), 2, 8, b"\0"))
    large.point.x = large.points[0].x = large.either.b = 7
    large.point = Point(1, 2)
    assert type(large) is Large
    assert type(first) is Event and isinstance(first.point, Point)
    frozen = codec_for(layout_of(Event), layout_of(Event).size).decode(batch.data, 8)
    assert frozen == second
    with pytest.raises(AttributeError, match="cannot be changed"):
        frozen.time = 5
    with pytest.raises(AttributeError, match="has no attribute 'tim'"):
        first.tim = 5  # type: ignore[attr-defined]  # that is the point


@pytest.mark.parametrize("layout", LAYOUTS, ids=lambda layout: layout.name)
def test_arrays_hold_the_same_values(layout: Layout) -> None:
    numpy = pytest.importorskip("numpy")
    batch, run = batch_of(layout, 5, 8, bytes(range(1, 252)))
    codec = EventCodec(layout)
    array = codec.array([batch])
    assert len(array) == 5

    def plain(value: Any, of: Layout) -> Any:
        if isinstance(of, StructType):
            names = [f.name for f in of.fields]
            return tuple(
                plain(getattr(value, f"{n}_" if n == "class" else n), f.layout)
                for n, f in zip(names, of.fields, strict=True)
            )
        return tuple(plain(v, of.element) for v in value) if isinstance(of, ArrayType) else value

    def listed(value: Any) -> Any:
        value = value.tolist() if hasattr(value, "tolist") else value
        return tuple(listed(v) for v in value) if isinstance(value, list | tuple) else value

    assert [listed(row) for row in array] == [plain(v, layout) for v in codec.objects(batch, run)]
    # Runs of several lengths are put together.
    longer = Batch(
        batch.data, 8, [Run(0, run.stride, run.length, 2), Run(run.stride * 2, run.stride, run.length + 1, 1)]
    )
    assert [listed(row) for row in codec.array([longer, batch])] == [
        listed(row) for row in [*array[:3], *array]
    ]
    assert len(codec.array([])) == 0
    assert isinstance(array, numpy.ndarray)


def test_records_without_a_layout_are_rows_of_bytes() -> None:
    pytest.importorskip("numpy")
    batch = Batch(bytes(range(64)), 8, [Run(0, 32, 24, 2)])
    array = EventCodec(None).array([batch])
    assert [row.tobytes() for row in array] == records_of(batch)
    mixed = Batch(bytes(64), 8, [Run(0, 32, 24, 1), Run(32, 16, 8, 2)])
    with pytest.raises(ValueError, match="records of 2 lengths do not make an array"):
        EventCodec(None).array([mixed])


def test_numpy_is_named_where_it_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "numpy", None)
    with pytest.raises(ModuleNotFoundError, match=r"numpy.*pip install 'pyebpf\[numpy\]'"):
        EventCodec(None).array([])
