"""The rule that shared memory which is updated at once must be aligned: in packed structs it may not be.

It is decided on the finished tree, because what a variable refers to may be known only from all its assignments.
"""

from __future__ import annotations

from collections.abc import Iterable

from pyebpf.codes import Code
from pyebpf.diagnostics import Diagnostic
from pyebpf.frontend import tree
from pyebpf.frontend.build_facts import alignment, facts
from pyebpf.frontend.build_frame import frames_of, reachable
from pyebpf.frontend.tree_nodes import nodes
from pyebpf.frontend.types import Ref
from pyebpf.layout import ArrayType, Layout, StructType


def unaligned_updates(unit: tree.Unit) -> list[Diagnostic]:
    """A diagnostic for every atomic update of memory that is not known to be aligned."""
    shared = [decl.value for decl in unit.maps] + [decl.layout for decl in unit.globals]
    if not any(map(_packed, shared)):
        return []
    functions = reachable([*unit.programs, *unit.functions])
    known = facts(frames_of(functions)).alignments
    return [
        _diagnostic(update)
        for update in _atomic_updates(functions)
        if isinstance(update.ref.type, Ref) and alignment(update.ref, known) < update.ref.type.layout.size
    ]


def _packed(layout: Layout | None) -> bool:
    """Whether a layout has parts that lie anywhere."""
    match layout:
        case StructType(packed=packed, fields=fields):
            return packed or any(_packed(field.layout) for field in fields)
        case ArrayType(element=element):
            return _packed(element)
        case _:
            return False


def _atomic_updates(functions: Iterable[tree.Function]) -> Iterable[tree.UpdateTo]:
    for function in functions:
        for node in nodes(function.body):
            if isinstance(node, tree.UpdateTo) and node.atomic:
                yield node


def _diagnostic(update: tree.UpdateTo) -> Diagnostic:
    assert isinstance(update.ref.type, Ref)
    return Diagnostic(
        Code.E0508,
        f"an update of a `{update.ref.type.layout.name}` that other CPUs share cannot be atomic",
        update.span,
        notes=(
            "it is in a packed struct, and not aligned; the kernel has atomic operations on aligned memory",
        ),
        help=(
            "order the fields so that it is aligned, or leave `packed=True` out",
            "if lost updates do not matter, write it in full: `x = x … y`",
        ),
    )
