"""The tests of our code generator on the kernel, with LLVM in its place: what each operation of the SSA means to
LLVM's is the same.
"""

from __future__ import annotations

import pytest

from pyebpf.backend.llvm import LlvmRefused, compile_with_llvm
from pyebpf.ir.ops import BinOp, Pred
from pyebpf.ir.types import I32, I64, IntTy
from pyebpf.target import Isa
from tests.kernel.codegen import harness, test_operations, test_programs, test_random

LEVELS = list(Isa)


@pytest.fixture(autouse=True)
def by_llvm(monkeypatch: pytest.MonkeyPatch) -> None:
    """The harness compiles with LLVM."""
    monkeypatch.setattr(harness, "compile_module", compile_with_llvm)


@pytest.mark.parametrize("level", (Isa.V1, Isa.V3, Isa.V4))
@pytest.mark.parametrize("type_", [I32, I64], ids=str)
@pytest.mark.parametrize("op", list(BinOp))
def test_binary(op: BinOp, type_: IntTy, level: Isa) -> None:
    test_operations.test_binary(op, type_, level)


@pytest.mark.parametrize("type_", [I32, I64], ids=str)
@pytest.mark.parametrize("pred", list(Pred))
def test_compare(pred: Pred, type_: IntTy) -> None:
    test_operations.test_compare(pred, type_, Isa.V3)


@pytest.mark.parametrize("level", LEVELS)
def test_widths_and_byte_order(level: Isa) -> None:
    test_operations.test_widths_and_byte_order(level)


@pytest.mark.parametrize("level", LEVELS)
def test_loads_and_stores(level: Isa) -> None:
    test_operations.test_loads_and_stores(level)


@pytest.mark.parametrize("level", LEVELS)
def test_truth_values(level: Isa) -> None:
    test_operations.test_truth_values(level)


@pytest.mark.parametrize("level", LEVELS)
def test_subprograms(level: Isa) -> None:
    test_programs.test_subprograms(level)


@pytest.mark.parametrize("level", LEVELS)
def test_callback(level: Isa) -> None:
    test_programs.test_callback(level)


@pytest.mark.parametrize("level", (Isa.V3, Isa.V4))
def test_globals(level: Isa) -> None:
    test_programs.test_globals(level)


@pytest.mark.parametrize("level", (Isa.V1, Isa.V2))
def test_narrow_atomics_are_not_in_the_lower_levels_of_llvm(level: Isa) -> None:
    with pytest.raises(LlvmRefused, match="unsupported atomic operation"):
        test_programs.test_globals(level)


@pytest.mark.parametrize("level", LEVELS)
def test_map_lookup(level: Isa) -> None:
    test_programs.test_map_lookup(level)


@pytest.mark.parametrize("level", (Isa.V1, Isa.V3))
@pytest.mark.parametrize("align", [1, 2, 4, 8])
def test_memory_blocks(level: Isa, align: int) -> None:
    test_programs.test_memory_blocks(level, align)


@pytest.mark.parametrize("level", LEVELS)
def test_random_functions(level: Isa) -> None:
    test_random.test_random_functions(0, level)
