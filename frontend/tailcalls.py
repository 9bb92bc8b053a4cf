"""Tail calls: ``return progs[i](ctx)`` goes to another program and does not come back."""

from __future__ import annotations

from pyebpf.codes import Code
from pyebpf.declare import MapDecl, declaration_of
from pyebpf.frontend import conversions, tree
from pyebpf.frontend.arguments import plain_arguments
from pyebpf.frontend.expressions import operand
from pyebpf.frontend.session import Context
from pyebpf.frontend.types import ContextPtr
from pyebpf.frontend.values import Static
from pyebpf.hints import Any
from pyebpf.uapi.constants import MapType


def tail_call(context: Context, node: Any) -> bool:
    """Compile a ``return`` statement if it is a tail call; whether it was one."""
    call = node.value
    if type(call).__name__ != "Call" or type(call.func).__name__ != "Subscript":
        return False
    base_node = call.func.value
    if type(base_node).__name__ not in ("Name", "Attribute"):
        return False
    base = operand(context, base_node)
    declaration = declaration_of(base.value) if isinstance(base, Static) else None
    if not isinstance(declaration, MapDecl) or declaration.type is not MapType.PROG_ARRAY:
        return False
    context.coverage.mark(call)
    context.coverage.mark(call.func)
    _check_place(context, node)
    context.use_map(declaration)
    index = conversions.integer(context, operand(context, call.func.slice), "an integer as the index")
    plain_arguments(context, call)
    if len(call.args) != 1 or call.keywords:
        raise context.refusal(Code.E0907, call, "a tail call passes the context and nothing else")
    argument = conversions.runtime(context, operand(context, call.args[0]))
    if not isinstance(argument.type, ContextPtr):
        raise context.refusal(Code.E0907, call.args[0], "a tail call passes the program's context")
    context.raises(tree.Exc.KEY)
    context.out.append(tree.TailCall(map=declaration, context=argument, index=index, span=context.span(node)))
    return True


def _check_place(context: Context, node: Any) -> None:
    if context.instance.function.kind is not tree.FunctionKind.ENTRY:
        raise context.refusal(
            Code.E0907,
            node,
            "a tail call is possible in the program itself only",
            notes=["from a function, the other program would return to that function's caller"],
            help="return the index, and make the tail call in the program",
        )
    if context.guarded:
        raise context.refusal(
            Code.E0907,
            node,
            "a tail call is not possible inside `with` or `finally`",
            notes=["it does not come back, so what must follow would never run"],
        )
