"""What the kernel limits for a whole program is told at the user's line: stack and depth of calls."""

from __future__ import annotations

import pytest

import pyebpf as bpf
from pyebpf import u8, u64


@bpf.global_function
def table(n: u64) -> u64:
    """Needs more stack than there is, and must not raise."""
    first = bpf.array(u64, 40)
    second = bpf.array(u64, 30)
    for i in range(30):
        first[i] = n + i
        second[i] = first[i] * 3
    found: u64 = second[n & 15] + first[n & 31]
    return found


@bpf.xdp
def large(ctx: bpf.Xdp) -> int:
    """Calls it."""
    return table(ctx.read(u8, 0))


LARGE = """\
error[E1001]: the program needs 608 bytes of stack, the kernel gives 512
  --> {file}:{line}:13
   |
{line} |     first = bpf.array(u64, 40)
   |             ^^^^^^^^^^^^^^^^^^ the largest object
   = note: the largest are: first in table (320 bytes), second in table (240 bytes)
   = help: keep large objects in a map, such as a `PerCpuArray` with one entry"""


def test_too_much_stack_is_refused_at_the_largest_object() -> None:
    with pytest.raises(bpf.CompileError) as refused:
        large.check()
    line = table.__code__.co_firstlineno + 3
    assert str(refused.value) == LARGE.format(file=__file__, line=line)


@bpf.noinline
def f1(n: u64) -> u64:
    return n + 1


@bpf.noinline
def f2(n: u64) -> u64:
    return f1(n) * 3


@bpf.noinline
def f3(n: u64) -> u64:
    return f2(n) ^ 5


@bpf.noinline
def f4(n: u64) -> u64:
    return f3(n) + 7


@bpf.noinline
def f5(n: u64) -> u64:
    return f4(n) * 9


@bpf.noinline
def f6(n: u64) -> u64:
    return f5(n) ^ 11


@bpf.noinline
def f7(n: u64) -> u64:
    return f6(n) + 13


@bpf.noinline
def f8(n: u64) -> u64:
    return f7(n) * 15


@bpf.xdp
def deep(ctx: bpf.Xdp) -> int:
    """Calls nine frames deep."""
    return f8(ctx.read(u8, 0))


def test_calls_that_are_nested_too_deep_are_refused() -> None:
    with pytest.raises(bpf.CompileError) as refused:
        deep.check()
    (found,) = refused.value.diagnostics
    assert found.code.name == "E1002"
    assert found.message == "calls are nested 9 deep, at most 8 are allowed"
    assert found.notes == ("the chain is deep → f8 → f7 → f6 → f5 → f4 → f3 → f2 → f1",)
