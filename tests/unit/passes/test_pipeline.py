"""The pipeline as a whole: what it tells its observer, how long it takes, and that it settles."""

from __future__ import annotations

import time

from pyebpf.backend.pipeline import PIPELINE, optimize
from pyebpf.ir.ops import MemCopy, MemZero, Module
from pyebpf.ir.text import print_module
from pyebpf.target import Isa, Target
from tests.unit.ir.random_ir import random_module


def operations(module: Module) -> int:
    return sum(1 for function in module.functions.values() for _ in function.ops())


def test_the_observer_sees_every_stage() -> None:
    seen: list[str] = []
    optimize(random_module(1), observer=lambda name, _: seen.append(name), check=True)
    assert seen == ["ssa", *(line.name for line in PIPELINE)]


def test_every_line_has_a_reason() -> None:
    assert all(line.reason for line in PIPELINE)


def test_selection_finds_loads_and_stores_only() -> None:
    for seed in range(30):
        module = random_module(seed, 20)
        optimize(module)
        for function in module.functions.values():
            assert not any(isinstance(op, MemZero | MemCopy) for op in function.ops())


def test_narrow_operations_need_v3() -> None:
    for seed in range(20):
        module = random_module(seed, 20)
        optimize(module, target=Target(isa=Isa.V2))
        assert "i32" not in print_module(module)


def test_the_result_does_not_depend_on_addresses() -> None:
    for seed in range(10):
        texts = set()
        for _ in range(3):
            module = random_module(seed, 25)
            optimize(module)
            texts.add(print_module(module))
        assert len(texts) == 1


def test_five_hundred_operations_in_a_tenth_of_a_second() -> None:
    modules = [m for seed in range(60) if 400 <= operations(m := random_module(seed, 30)) <= 700]
    assert modules
    best = []
    for module in modules:
        start = time.perf_counter()
        optimize(module)
        best.append(time.perf_counter() - start)
    assert sorted(best)[len(best) // 2] < 0.1
