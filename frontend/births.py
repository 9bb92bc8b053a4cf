"""Where the storage behind a reference was made: in which loops and ``with`` blocks.

Each construction has one piece of storage; doing it again, in the next iteration, makes the same piece anew. A
name that still refers to it then would silently change its contents, so it is refused (E0503).
"""

from __future__ import annotations

from pyebpf.frontend import tree
from pyebpf.frontend.session import Context
from pyebpf.frontend.types import Maybe, Origin, Ref

_MADE = (
    tree.NewStruct,
    tree.NewArray,
    tree.CopyOf,
    tree.MapPop,
    tree.PacketCopy,
    tree.FunctionCall,
    tree.HelperCall,
)


def births_of(context: Context, expr: tree.Expr) -> frozenset[int]:
    """The regions (loops, ``with`` blocks) that the storage behind ``expr`` belongs to."""
    of = expr.type.of if isinstance(expr.type, Maybe) else expr.type
    if not isinstance(of, Ref) or of.origin not in (Origin.LOCAL, Origin.RECORD, Origin.MIXED):
        return frozenset()
    match expr:
        case tree.GetLocal():
            if context.state is not None:
                for variable, knowledge in context.state.known.items():
                    if variable.local is expr.local:
                        return knowledge.births
            return frozenset(context.regions)
        case tree.FieldOf() | tree.ElementOf() | tree.SliceOf():
            return births_of(context, expr.base)
        case tree.Bind():
            return births_of(context, expr.value)
        case tree.Conditional():
            return births_of(context, expr.then) | births_of(context, expr.otherwise)
        case _ if isinstance(expr, _MADE):
            return frozenset(context.regions)
        case _:
            return frozenset()
