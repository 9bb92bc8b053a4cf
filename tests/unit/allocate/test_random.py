"""Random functions through the allocator, each judged by the checker and by simulation.

More of them: ``python -m tests.unit.allocate.fuzz --count 100000 --seed N``.
"""

from __future__ import annotations

import random
import time

import pytest

from pyebpf.backend.allocate import allocate
from tests.unit.allocate.fuzz import judge
from tests.unit.allocate.generator import Shape, pressing_shape, random_function
from tests.unit.allocate.pressure import pressure

CHUNK = 100


@pytest.mark.parametrize("first", range(0, 2000, CHUNK))
def test_random_functions(first: int) -> None:
    """2,000 functions of every shape."""
    for seed in range(first, first + CHUNK):
        judge(random_function(seed), seed, late_stores=seed % 4 == 0)


@pytest.mark.parametrize("first", range(0, 200, 50))
def test_more_values_than_registers(first: int) -> None:
    """200 small functions in which 12 to 40 values are alive at once."""
    most = 0
    for seed in range(first, first + 50):
        function = random_function(seed, pressing_shape(random.Random(seed), 12, 40))
        most = max(most, pressure(judge(function, seed, late_stores=seed % 4 == 0)))
    assert most > 30


@pytest.mark.parametrize("calls", [0.0, 0.3])
@pytest.mark.parametrize("seed", range(5))
def test_extreme_pressure(seed: int, calls: float) -> None:
    """Any value may be used anywhere: a hundred and more are alive at once."""
    shape = Shape(blocks=12, insns=60, calls=calls, locality=0.0, params=5)
    judge(random_function(seed, shape), seed)


def test_large() -> None:
    """Thousands of instructions; nothing here is quadratic enough to matter."""
    function = random_function(1, Shape(blocks=150, insns=60, calls=0.1, locality=0.9, params=2))
    judge(function)


def test_speed() -> None:
    """500 instructions in less than 100 ms."""
    shape = Shape(blocks=24, insns=42, calls=0.1, locality=0.8, params=2)
    best = 1.0
    for _ in range(5):
        function = random_function(18, shape)
        count = sum(len(block.insns) for block in function.blocks)
        start = time.process_time()
        allocate(function)
        best = min(best, (time.process_time() - start) * 500 / count)
    assert count > 500
    assert best < 0.1
