"""Random programs as Python source, valid by the rules of the language and written without the compiler's help.

The productions are in ``tests.differential.generator``, a module for each subject; here they become a module with
declarations, functions and programs. Every program leaves what it computed in maps, globals, the packet and its verdict.
"""

from __future__ import annotations

from collections import Counter

from tests.differential.generator import (
    calls,
    control,
    corners,
    guards,
    idioms,
    integers,
    objects,
    packets,
    tables,
)
from tests.differential.generator.core import EFFORT, Generator, Scope

SUBJECTS = (calls, control, corners, guards, idioms, integers, objects, packets, tables)
"""The modules whose productions are in the tables once they are imported."""

HEADER = """\
from __future__ import annotations

import enum

import pyebpf as bpf
from pyebpf import be16, be32, be64, i8, i16, i32, i64, le16, le32, le64, u8, u16, u32, u64

bpf.license("GPL")


class Color(enum.IntEnum):
    RED = 1
    GREEN = 3
    BLUE = 6


@bpf.struct
class Inner:
    p: u16
    q: i32


@bpf.struct
class Label:
    text: bytes = bpf.chars(8)
    count: u8


@bpf.union
class Either:
    whole: u64
    halves: list[int] = bpf.array(u32, 2)
    signed: i16


@bpf.struct(packed=True)
class Packed:
    s: u8
    t: u32
    w: be16
    x: i64
    y: le64


@bpf.struct
class Prefix:
    prefixlen: u32
    address: be32


@bpf.struct
class Record:
    a: u8
    b: i16
    c: u32
    d: u64
    e: be16
    k: le16
    f: be32
    g: i64
    l: be64
    h: list[int] = bpf.array(u16, 4)
    m: le32
    name: bytes = bpf.chars(8)
    inner: Inner
    list: list[int] = bpf.array(i32, 3)
    cells: list[Inner] = bpf.array(Inner, 3)


table = bpf.ArrayMap[u32, u64](max_entries=16)
small = bpf.ArrayMap[u32, u16](max_entries=8)
words = bpf.HashMap[u16, u32](max_entries=12)
counts = bpf.HashMap[u32, u64](max_entries=64, default={default})
recent = bpf.LruHashMap[u32, u64](max_entries=1024, default=0)
records = bpf.HashMap[u32, Record](max_entries=8)
pairs = bpf.HashMap[Inner, i64](max_entries=8)
local = bpf.PerCpuArray[u32, u64](max_entries=4)
slots = bpf.PerCpuHash[u32, u32](max_entries=64)
routes = bpf.LpmTrie[Prefix, u32](max_entries=64)
queue = bpf.Queue[u32](max_entries=4)
stack = bpf.Stack[u64](max_entries=4)
events = bpf.RingBuf(1 << 16)
progs = bpf.ProgArray(max_entries=4)
total = bpf.Global[u64]({total})
narrow = bpf.Global[i32]({narrow})
limit = bpf.Const[u32]({limit})
LIMIT = {limit}
TABLE = (3, 70000, 5, {limit})
WORD = b"hello"


def accumulate(i: u32, state: Inner) -> None:
    state.p += 1
    state.q -= i


def stop_early(i: u32, state: Inner) -> bool:
    state.q += i
    return i > state.p


def gather(walked, key, value, state):  # noqa: ANN001, ANN201
    state.p += 1
    state.q += i64(value ^ key)


def search(walked, key, value, state):  # noqa: ANN001, ANN201
    state.q += 1
    return value > state.p and key > 1


def touch(walked, key, record, state):  # noqa: ANN001, ANN201
    record.c += key
    total.value += record.a
"""


def _program(g: Generator, name: str, size: int) -> None:
    """A program that computes, and leaves what it computed."""
    context = "bpf.Xdp" if g.kind == "xdp" else "bpf.SkBuff"
    g.lines += ["", ""]
    said = f"(on_error={g.rng.randrange(2, 200)})"
    g.emit(0, f"@bpf.{g.kind}{g.pick(said, said, said, said, '()', '')}")
    g.emit(0, f"def {name}(ctx: {context}) -> int:")
    g.effort = EFFORT
    scope = Scope()
    for _ in range(g.rng.randint(2, 4)):
        g.declare(1, scope)
    g.block(1, scope, g.rng.randint(size // 2, size))
    for slot, variable in enumerate(list(scope.ints)[:8]):
        g.emit(1, f"table[{8 + slot}] = u64({variable})")
    for struct in list(scope.structs)[:2]:
        g.emit(1, f"events.output({struct})")
    g.emit(1, f"return i32({g.any(scope, 2)})")


def generate(seed: int) -> tuple[str, Counter[str]]:
    """The source of program number ``seed``, and what it contains."""
    g = Generator(seed)
    g.lines = HEADER.format(
        default=g.rng.randrange(9),
        total=g.rng.randrange(1 << 16),
        narrow=g.rng.randrange(-99, 99),
        limit=g.rng.randrange(1000),
    ).splitlines()
    for _ in range(g.rng.choice((0, 1, 1, 2, 3))):
        calls.make_function(g)
    if g.chance(12):
        idioms.make_factory(g)
    if g.chance(50):
        _program(g, "target", 2)
        g.targets = 1
    _program(g, "program", g.rng.choice((6, 8, 10, 14)))
    g.note(g.kind)
    return "\n".join(g.lines) + "\n", g.features
