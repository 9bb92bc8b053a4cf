"""Values to bytes and back: as C lays them out, nothing cut, nothing invented."""

from __future__ import annotations

import ctypes
import dataclasses
import enum
import struct
import sys
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pyebpf.layout import (
    BE16,
    BE32,
    BE64,
    I8,
    I16,
    I32,
    I64,
    LE16,
    LE32,
    LE64,
    U8,
    U16,
    U32,
    U64,
    ArrayType,
    BytesType,
    Field,
    IntType,
    Layout,
    StructType,
    struct_type,
)
from pyebpf.runtime.map_codec import FdCodec, LayoutCodec, PerCpuCodec, RawCodec, codec_for

INTS = [U8, U16, U32, U64, I8, I16, I32, I64, BE16, BE32, BE64, LE16, LE32, LE64]
CTYPES: dict[IntType, Any] = {
    U8: ctypes.c_uint8,
    U16: ctypes.c_uint16,
    U32: ctypes.c_uint32,
    U64: ctypes.c_uint64,
    I8: ctypes.c_int8,
    I16: ctypes.c_int16,
    I32: ctypes.c_int32,
    I64: ctypes.c_int64,
}


@pytest.mark.parametrize("layout", INTS, ids=repr)
def test_integers_at_their_limits(layout: IntType) -> None:
    codec = LayoutCodec(layout)
    assert codec.size == layout.size
    for value in (layout.lo, layout.hi, 1):
        data = codec.encode(value)
        assert len(data) == layout.size
        assert codec.decode(data) == value
    for value in (layout.lo - 1, layout.hi + 1):
        with pytest.raises(OverflowError, match=layout.name):
            codec.encode(value)


def test_byte_order_is_that_of_the_layout() -> None:
    assert LayoutCodec(BE16).encode(0x0102) == b"\x01\x02"
    assert LayoutCodec(LE32).encode(0x01020304) == b"\x04\x03\x02\x01"
    assert LayoutCodec(U16).encode(1) == (1).to_bytes(2, sys.byteorder)
    assert LayoutCodec(ArrayType(BE16, 2)).decode(b"\x00\x01\x00\x02") == (1, 2)


class Color(enum.IntEnum):
    """An enum as users have them."""

    RED = 3


def test_what_counts_as_an_integer() -> None:
    assert LayoutCodec(U8).encode(Color.RED) == b"\x03"
    assert LayoutCodec(U8).encode(True) == b"\x01"
    for value in (1.0, "1", None, b"1"):
        with pytest.raises(TypeError, match="an integer is needed for u8"):
            LayoutCodec(U8).encode(value)


def test_byte_strings_have_zeroed_tails() -> None:
    codec = LayoutCodec(BytesType(4))
    assert codec.encode(b"ab") == b"ab\0\0"
    assert codec.decode(b"ab\0\0") == b"ab"
    assert codec.decode(codec.encode(bytearray(b"abcd"))) == b"abcd"
    with pytest.raises(ValueError, match="5 bytes do not fit chars"):
        codec.encode(b"abcde")
    with pytest.raises(TypeError):
        codec.encode("ab")


def test_arrays_are_tuples() -> None:
    codec = LayoutCodec(ArrayType(struct_type("p", [("x", U8), ("y", U16)]), 2))
    found = codec.decode(codec.encode([(1, 2), {"x": 3, "y": 4}]))
    assert [(p.x, p.y) for p in found] == [(1, 2), (3, 4)]
    with pytest.raises(TypeError, match="a sequence of 2 elements"):
        codec.encode([(1, 2)])
    assert LayoutCodec(ArrayType(U32, 0)).decode(b"") == ()


def test_structs_are_frozen_and_know_their_members() -> None:
    layout = struct_type("event", [("pid", U32), ("class", U8), ("name", BytesType(3)), ("t", U64)])
    codec = LayoutCodec(layout)
    event = codec.decode(codec.encode({"pid": 1, "class": 2, "name": b"x", "t": 3}))
    assert repr(event) == "event(pid=1, class_=2, name=b'x', t=3)"
    assert codec.encode(event) == codec.encode((1, 2, b"x", 3))
    assert event == codec.decode(codec.encode(event)) and hash(event)
    with pytest.raises(dataclasses.FrozenInstanceError):
        event.pid = 2
    with pytest.raises(TypeError, match="no member 'extra'"):
        codec.encode({"pid": 1, "class": 2, "name": b"x", "t": 3, "extra": 4})
    with pytest.raises(TypeError, match="no member 'pid'"):
        codec.encode({"class": 2, "name": b"x", "t": 3})
    with pytest.raises(TypeError, match="4 members, not 2"):
        codec.encode((1, 2))
    with pytest.raises(TypeError, match="int has no member 'pid'"):
        codec.encode(5)


def test_padding_is_zero() -> None:
    layout = struct_type("padded", [("a", U8), ("b", U64), ("c", U8)])
    data = LayoutCodec(layout).encode((0xFF, 2**64 - 1, 0xFF))
    assert data == b"\xff" + bytes(7) + b"\xff" * 9 + bytes(7)
    packed = struct_type("packed", [("a", U8), ("b", U64)], packed=True)
    assert LayoutCodec(packed).size == 9


class User:
    """What bpf.struct gives user space: built from values, read by attributes."""

    def __init__(self, **values: Any) -> None:
        self.__dict__.update(values)

    @classmethod
    def _from_values(cls, **values: Any) -> User:
        return cls(**values)


def test_the_users_class_is_built() -> None:
    layout = struct_type("User", [("a", U32), ("b", BE32)], python_class=User)
    codec = LayoutCodec(layout)
    found = codec.decode(codec.encode(User(a=1, b=2)))
    assert type(found) is User and found.__dict__ == {"a": 1, "b": 2}


def test_unions_hold_one_thing() -> None:
    layout = struct_type("either", [("word", U32), ("byte", U8), ("text", BytesType(4))], union=True)
    codec = LayoutCodec(layout)
    found = codec.decode(codec.encode({"word": 0x41414141}))
    assert (found.word, found.byte, found.text) == (0x41414141, 0x41, b"AAAA")
    assert codec.encode(found) == b"AAAA"
    assert codec.encode({"byte": 7}) == b"\7\0\0\0"
    with pytest.raises(ValueError, match="values disagree"):
        codec.encode({"word": 1, "byte": 2})
    with pytest.raises(TypeError, match="at least one"):
        codec.encode({})


def test_kernel_structs_with_overlapping_members() -> None:
    layout = StructType("overlap", (Field("a", U32, 0), Field("low", U16, 0), Field("b", U32, 4)), 8, 4)
    codec = LayoutCodec(layout)
    found = codec.decode(struct.pack("=II", 0x00010001, 5))
    assert (found.a, found.low, found.b) == (0x00010001, 1, 5)
    assert codec.encode(found) == struct.pack("=II", 0x00010001, 5)


def test_raw_values_have_an_exact_size() -> None:
    codec = codec_for(None, 4)
    assert isinstance(codec, RawCodec)
    assert codec.decode(b"xxabcdyy", 2) == b"abcd"
    assert codec.encode(memoryview(b"abcd")) == b"abcd"
    with pytest.raises(ValueError, match="4 bytes are needed, not 3"):
        codec.encode(b"abc")


def test_per_cpu_values_are_rounded_up() -> None:
    codec = PerCpuCodec(LayoutCodec(U32), 3)
    data = codec.encode([1, 2, 3])
    assert (codec.size, len(data)) == (24, 24)
    assert codec.decode(data) == (1, 2, 3)
    with pytest.raises(TypeError, match="one for each possible CPU"):
        codec.encode(b"123")


def test_descriptors_in_numbers_out() -> None:
    codec = FdCodec(4)
    assert codec.encode(5) == (5).to_bytes(4, sys.byteorder)
    assert codec.decode(codec.encode(5)) == 5


def layouts() -> st.SearchStrategy[Layout]:
    """Layouts that ctypes has as well: native integers, arrays and aligned structs."""
    leaves = st.sampled_from(list(CTYPES))

    def structs(inner: st.SearchStrategy[Layout]) -> st.SearchStrategy[Layout]:
        members = st.lists(inner, min_size=1, max_size=5)
        made = members.map(lambda ls: struct_type("s", [(f"m{i}", one) for i, one in enumerate(ls)]))
        return made | st.builds(ArrayType, inner, st.integers(1, 4))

    return st.recursive(leaves, structs, max_leaves=12)


def to_ctypes(layout: Layout) -> Any:
    """The ctypes type of a layout."""
    match layout:
        case IntType():
            return CTYPES[layout]
        case ArrayType(element=element, length=length):
            return to_ctypes(element) * length
        case StructType(fields=fields):
            pairs = [(one.name, to_ctypes(one.layout)) for one in fields]
            return type("s", (ctypes.Structure,), {"_fields_": pairs})
        case BytesType():
            raise AssertionError(layout)


def values(layout: Layout) -> st.SearchStrategy[Any]:
    """Values of a layout: integers, lists, and dicts for structs."""
    match layout:
        case IntType():
            return st.integers(layout.lo, layout.hi)
        case ArrayType(element=element, length=length):
            return st.lists(values(element), min_size=length, max_size=length)
        case StructType(fields=fields):
            return st.fixed_dictionaries({one.name: values(one.layout) for one in fields})
        case BytesType():
            raise AssertionError(layout)


def fill(target: Any, value: Any) -> None:
    """Store ``value`` into a ctypes object."""
    items = value.items() if isinstance(value, dict) else enumerate(value)
    for key, one in items:
        if isinstance(one, int):
            setattr(target, key, one) if isinstance(key, str) else target.__setitem__(key, one)
        else:
            fill(getattr(target, key) if isinstance(key, str) else target[key], one)


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_bytes_are_those_of_ctypes(data: st.DataObject) -> None:
    layout = data.draw(layouts())
    value = data.draw(values(layout))
    codec = LayoutCodec(layout)
    if isinstance(layout, IntType):
        target = to_ctypes(layout)(value)
    else:
        target = to_ctypes(layout)()
        fill(target, value)
    encoded = codec.encode(value)
    assert encoded == bytes(target)
    assert codec.encode(codec.decode(encoded)) == encoded
