"""How well the references in variables are aligned: the worst of what is assigned to each.

A reference to a byte string says nothing about alignment by its layout, but most refer to an object of its
own, which is aligned to 8, or to a field at a known offset. Knowing it, copies and comparisons go by 8 bytes.
"""

from __future__ import annotations

from pyebpf.frontend import tree
from pyebpf.frontend.build_frame import nodes
from pyebpf.frontend.types import Maybe, Ref
from pyebpf.layout import ArrayType

BEST = 8


def _common(align: int, offset: int) -> int:
    while offset % align:
        align //= 2
    return align


def _of(expr: tree.Expr, known: dict[tree.Local, int]) -> int:
    """The alignment of what ``expr`` refers to, in bytes."""
    match expr:
        case (
            tree.NewStruct()
            | tree.NewArray()
            | tree.CopyOf()
            | tree.PacketCopy()
            | tree.MapPop()
            | tree.ConstData()
            | tree.MapLookup()
            | tree.NullConst()
        ):
            return BEST
        case tree.GetLocal(local=local):
            return known.get(local, 1)
        case tree.Bind(value=value):
            return _of(value, known)
        case tree.FieldOf(base=base, field=field):
            return _common(_of(base, known), field.offset)
        case tree.ElementOf(base=base) if isinstance(expr.type, Ref):
            return _common(_of(base, known), expr.type.layout.size)
        case tree.SliceOf(base=base, start=start) if isinstance(base.type, Ref):
            layout = base.type.layout
            size = layout.element.size if isinstance(layout, ArrayType) else 1
            return _common(_of(base, known), start * size)
        case tree.Conditional(then=then, otherwise=otherwise):
            return min(_of(then, known), _of(otherwise, known))
        case tree.FunctionCall(function=function) if isinstance(function.result, Ref):
            return BEST if function.result.origin.value == "local" else function.result.layout.align
        case _:
            type_ = expr.type.of if isinstance(expr.type, Maybe) else expr.type
            return type_.layout.align if isinstance(type_, Ref) else 1


def alignments(function: tree.Function) -> dict[tree.Local, int]:
    """The alignment in bytes of the references that each reference variable of ``function`` holds."""
    assigned: list[tuple[tree.Local, tree.Expr]] = []
    known: dict[tree.Local, int] = {}
    outside = {*function.params, *function.captures}
    for node in nodes(function.body):
        match node:
            case tree.SetLocal(local=local, value=value) | tree.Bind(local=local, value=value):
                assigned.append((local, value))
            case tree.Reserve(local=local):
                known[local] = BEST
            case _:
                pass
    for local in (*outside, *(local for local, _ in assigned)):
        type_ = local.type.of if isinstance(local.type, Maybe) else local.type
        if isinstance(type_, Ref):
            known[local] = type_.layout.align if local in outside or local.boxed else BEST
    changed = True
    while changed:
        changed = False
        for local, value in assigned:
            if local in known and (align := _of(value, known)) < known[local]:
                known[local] = align
                changed = True
    return known
