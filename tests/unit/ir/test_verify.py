"""Broken invariants that the textual form cannot express; the others are in ``tests/golden/ir_verify``."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from pyebpf.diagnostics import InternalError
from pyebpf.ir import ops
from pyebpf.ir.ops import Block, Function, Module, Param, ParamInfo
from pyebpf.ir.text import parse_module
from pyebpf.ir.types import I64
from pyebpf.ir.verify import verify, verify_function

TEXT = """
func entry xdp @main(%ctx: ptr<ctx> as ctx) -> i64 {
entry:
  %1 = load.4 i64 %ctx + 16
  return %1
}

func subprogram @other(%x: i64) -> i64 {
entry:
  %1 = add i64 %x, %x
  return %1
}
"""


def foreign_target(module: Module) -> None:
    main = module.functions["main"]
    main.entry.ops[-1] = ops.Jump(Block("elsewhere", [ops.Unreachable()]))


def two_places(module: Module) -> None:
    main = module.functions["main"]
    main.entry.ops.insert(0, main.entry.ops[0])


def foreign_operand(module: Module) -> None:
    main, other = module.functions["main"], module.functions["other"]
    main.entry.ops[-1] = ops.Return(other.entry.ops[0])


def foreign_parameter(module: Module) -> None:
    main, other = module.functions["main"], module.functions["other"]
    main.entry.ops[-1] = ops.Return(other.params[0])


def detached_operand(module: Module) -> None:
    module.functions["main"].entry.ops[-1] = ops.Return(ops.const(1))


def wrong_name(module: Module) -> None:
    module.functions["main"].name = "niam"


def wrong_index(module: Module) -> None:
    module.functions["other"].params[0].index = 1


def too_many_infos(module: Module) -> None:
    module.functions["main"].param_infos = (ParamInfo("ctx"), ParamInfo("more"))


def no_context(module: Module) -> None:
    module.functions["main"].params = []
    module.functions["main"].param_infos = ()


def six_parameters(module: Module) -> None:
    module.functions["other"].params += [Param(i, type=I64) for i in range(1, 6)]


def wrong_type(module: Module) -> None:
    module.functions["main"].entry.ops[-1].type = I64


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (foreign_target, "target elsewhere is not in the function"),
        (two_places, "stands in two places"),
        (foreign_operand, "an operand is not in the function"),
        (foreign_parameter, "a foreign parameter"),
        (detached_operand, "`return %detached`: an operand is not in the function"),
        (wrong_name, "the module knows it as 'main'"),
        (wrong_index, "parameter 0 has index 1"),
        (too_many_infos, "param_infos do not match"),
        (no_context, "takes the context"),
        (six_parameters, "more than five parameters"),
        (wrong_type, "wrong type for this operation"),
    ],
)
def test_refused(change: Callable[[Module], None], message: str) -> None:
    module = parse_module(TEXT)
    verify(module)
    change(module)
    with pytest.raises(InternalError) as caught:
        verify(module, after="a test")
    assert message in str(caught.value)
    assert caught.value.phase == "the IR verifier after a test"


def test_one_function() -> None:
    module = parse_module(TEXT)
    foreign_operand(module)
    verify_function(module, module.functions["other"])
    with pytest.raises(InternalError, match="main"):
        verify_function(module, module.functions["main"])


def test_unreachable_code_needs_no_dominance() -> None:
    module = parse_module(
        "func subprogram @f() -> i64 {\nentry:\n  %1 = const i64 1\n  return %1\n"
        "never:\n  %2 = add i64 %3, %3\n  %3 = const i64 2\n  return %2\n}\n"
    )
    function: Function = module.functions["f"]
    assert len(function.blocks) == 2
    verify(module)
