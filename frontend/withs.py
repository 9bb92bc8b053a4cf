"""``with``: ring buffer records (``with ring.reserve(T) as record:``)."""

from __future__ import annotations

from pyebpf.codes import Code
from pyebpf.declare import MapDecl, declaration_of
from pyebpf.frontend import tree
from pyebpf.frontend.arguments import arguments
from pyebpf.frontend.blocks import block, statement
from pyebpf.frontend.expressions import operand
from pyebpf.frontend.flow import Fate, Knowledge
from pyebpf.frontend.map_records import check_record
from pyebpf.frontend.session import Context
from pyebpf.frontend.types import Maybe, Origin, Ref
from pyebpf.frontend.values import Method, Static
from pyebpf.hints import Any
from pyebpf.layout import ArrayType, BytesType, IntType, StructType
from pyebpf.uapi.constants import MapType


@statement("With")
def _with(context: Context, node: Any) -> None:
    _items(context, node, list(node.items))


def _items(context: Context, node: Any, items: list[Any]) -> None:
    """``with a, b:`` is ``with a:`` around ``with b:``."""
    (manager, target), rest = items[0], items[1:]
    declaration, layout = _reservation(context, manager)
    kind = Maybe(Ref(layout, Origin.RECORD))
    span = context.span(node)
    variable = None
    if target is not None:
        context.coverage.mark(target)
        if type(target).__name__ != "AssignName":
            raise context.refusal(Code.E0408, target, "the target of this `with` must be a name")
        variable = context.scope.variable(target.name)
        if variable is None:
            raise context.bug("with target without a variable", span)
        context.observe(variable, kind, context.span(target))
        local = variable.local
        if local.boxed:
            raise context.refusal(Code.E0906, target, "a record cannot be shared with a callback")
    else:
        local = context.temporary(kind, span)
    with context.region(node) as region:
        if variable is not None and context.state is not None:
            context.state.known[variable] = Knowledge(kind, births=frozenset({region}))
        context.guarded += 1
        with context.collecting() as out:
            if rest:
                _items(context, node, rest)
            else:
                out += block(context, node.body)
        context.guarded -= 1
    if context.state is not None:
        context.state.end(Fate.SUBMITTED, span, context.state.born_in(region))
    context.out.append(tree.Reserve(map=declaration, local=local, layout=layout, body=tuple(out), span=span))


def _reservation(
    context: Context, manager: Any
) -> tuple[MapDecl, IntType | BytesType | ArrayType | StructType]:
    if type(manager).__name__ == "Call":
        context.coverage.mark(manager)
        method = operand(context, manager.func)
        if isinstance(method, Method) and isinstance(method.receiver, Static) and method.name == "reserve":
            declaration = declaration_of(method.receiver.value)
            if isinstance(declaration, MapDecl) and declaration.type is MapType.RINGBUF:
                context.use_map(declaration)
                given = arguments(context, manager, ("T",), code=Code.E0605)
                found = given.values[0]
                layout = declaration_of(found.value) if isinstance(found, Static) else None
                if isinstance(layout, IntType | BytesType | ArrayType | StructType):
                    check_record(context, declaration, layout, given.spans[0])
                    return declaration, layout
                raise context.refusal(
                    Code.E0301, given.spans[0], "a type is wanted here", help="name a struct"
                )
    raise context.refusal(
        Code.E0408,
        manager,
        "this is no context manager of the language",
        notes=["`with` is for what must be paired: records of ring buffers"],
        help="write `with ring.reserve(T) as record:`",
    )
