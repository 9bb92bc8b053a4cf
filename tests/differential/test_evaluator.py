"""The evaluator itself: for functions of integers that nothing wraps, it says what CPython says.

Each function below is run twice on many arguments: as it is, by CPython, and compiled up to the typed tree, by the
evaluator, called from a program that stores its result.
"""

from __future__ import annotations

import inspect
import random
import textwrap
from collections.abc import Callable

import pytest

from pyebpf.driver import running_target
from pyebpf.frontend.infer import analyze
from tests.differential.evaluator import Context, Evaluator
from tests.differential.judge import module_of, programs_of


def floor_division(a: int, b: int) -> int:
    return (a // 7) * 1000 + a % 7 + b // -5 + b % -3


def shifts(a: int, b: int) -> int:
    return (a >> (b & 15)) + ((a & 255) << (b & 7)) - (b >> 63)


def bits(a: int, b: int) -> int:
    return (a & b) + (a | b) + (a ^ b) - ~a + (-b)


def comparisons(a: int, b: int) -> int:
    n = 0
    if a < b <= 100:
        n += 1
    if not (a == b or a > 5):
        n += 2
    if a >= -3 and b != 0:
        n += 4
    return n + (a < b) + int(a != b)


def collatz(a: int, b: int) -> int:
    n = (a & 15) + 1
    steps = 0
    for _ in range(20):
        if n == 1:
            break
        n = 3 * n + 1 if n & 1 else n // 2
        steps += 1
    else:
        steps += 100
    return steps * 1000 + n + b


def loops(a: int, b: int) -> int:
    total = 0
    for i in range(10, -10, -3):
        if i == a:
            continue
        for k in (1, 5, 9):
            if k > (b & 7):
                break
            total += i * k
        else:
            total += 1000
    left = a & 7
    while left > 0:
        left -= 1
        total -= left
    return total


def exceptions(a: int, b: int) -> int:
    n = 0
    try:
        try:
            n += 1000 // (a & 3)
            if b > 50:
                raise KeyError
            assert b != 7
        except ZeroDivisionError:
            n += 1
        except LookupError:
            n += 2
            raise
        else:
            n += 4
        finally:
            n += 8
    except KeyError:
        n += 16
    except Exception:
        n += 32
    return n


def finally_and_jumps(a: int, b: int) -> int:
    n = 0
    for i in range(5):
        try:
            if i == (a & 7):
                break
            if i == (b & 7):
                continue
            if i == 4 and a > 90:
                return n + 5000
            n += 1
        finally:
            n += 10
    return n


def matching(a: int, b: int) -> int:
    match a % 9:
        case 0 | 3:
            return 1
        case 5 if b > 0:
            return 2
        case other if other > 6:
            return other * 10
        case _:
            return b


def assignments(a: int, b: int) -> int:
    a, b = b, a
    x = (c := a + 1) * 2 + c
    y = a and b
    z = b or 17
    return x + y * 3 + z * 5 + min(a, b, 3) - max(a, b) + abs(a)


FUNCTIONS = (
    floor_division,
    shifts,
    bits,
    comparisons,
    collatz,
    loops,
    exceptions,
    finally_and_jumps,
    matching,
    assignments,
)

HEADER = """\
from __future__ import annotations

import pyebpf as bpf
from pyebpf import i32, i64, u32, u8

bpf.license("GPL")
first = bpf.Global[i32](0)
second = bpf.Global[i32](0)
result = bpf.Global[i64](0)


@bpf.socket_filter(on_error=1)
def program(ctx: bpf.SkBuff) -> int:
    result.value = {name}(first.value, second.value)
    return 0


"""


def arguments(seed: int) -> list[tuple[int, int]]:
    """Corners, and numbers that are small enough that nothing wraps."""
    rng = random.Random(seed)
    corners = (0, 1, -1, 2, 3, 5, 7, -7, 8, 63, 64, 100, 127, -128, 255)
    wide = [(rng.randint(-(2**20), 2**20), rng.randint(-(2**20), 2**20)) for _ in range(50)]
    return [*((a, b) for a in corners for b in corners), *wide]


@pytest.mark.parametrize("function", FUNCTIONS, ids=lambda f: f.__name__)
def test_evaluator_means_what_cpython_means(function: Callable[[int, int], int]) -> None:
    source = HEADER.format(name=function.__name__) + textwrap.dedent(inspect.getsource(function))
    with module_of(source, f"evaluated_{function.__name__}") as module:
        (decl,) = programs_of(module)
        unit = analyze([decl], running_target(), "GPL")
    evaluator = Evaluator(unit)
    places = {str(d.name): evaluator.memory_of(d) for d in unit.globals}
    for a, b in arguments(1):
        places["first"][:] = a.to_bytes(4, "little", signed=True)
        places["second"][:] = b.to_bytes(4, "little", signed=True)
        assert evaluator.run(unit.programs[0], Context(bytearray())) == 0
        assert int.from_bytes(places["result"], "little", signed=True) == function(a, b), (a, b)
