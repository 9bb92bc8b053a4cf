"""How well the references in variables are aligned: the worst of what is assigned to each, calls included.

A reference to a byte string says nothing about alignment by its layout, but most refer to an object of its
own, which is aligned to 8, or to a field at a known offset. Knowing it, copies and comparisons go by 8 bytes.
"""

from __future__ import annotations

from pyebpf.frontend import tree
from pyebpf.frontend.build_data import variable_align
from pyebpf.frontend.build_frame import Calling, Frame, nodes, result_in_record
from pyebpf.frontend.types import Maybe, Ref, Type
from pyebpf.ir.ops import FunctionRole
from pyebpf.layout import ArrayType, Layout

BEST = 8


def _common(align: int, offset: int) -> int:
    while offset % align:
        align //= 2
    return align


def _layout(type_: Type) -> Layout | None:
    """The layout behind a reference, which may be optional."""
    of = type_.of if isinstance(type_, Maybe) else type_
    return of.layout if isinstance(of, Ref) else None


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
        case tree.FunctionCall(function=function) if result_in_record(function):
            return BEST
        case tree.GlobalVar(decl=decl):
            return variable_align(decl.layout)
        case _:
            behind = _layout(expr.type)
            return behind.align if behind is not None else 1


def alignments(frames: dict[tree.Function, Frame]) -> dict[tree.Local, int]:
    """The alignment in bytes of what the reference variables of all functions refer to."""
    assigned: list[tuple[tree.Local, tree.Expr]] = []
    known: dict[tree.Local, int] = {}
    for function, frame in frames.items():
        for node in nodes(function.body):
            match node:
                case tree.SetLocal(local=local, value=value) | tree.Bind(local=local, value=value):
                    assigned.append((local, value))
                case tree.FunctionCall(function=callee, args=args):
                    assigned.extend(zip(callee.params, args, strict=True))
                case tree.LoopCall(body=body, state=state) if state is not None:
                    assigned.extend(zip(body.params[1:], (state,), strict=True))
                case tree.Reserve(local=local):
                    known[local] = BEST
                case _:
                    pass
        from_kernel = frame.calling is Calling.CALLBACK or frame.role is FunctionRole.GLOBAL
        for local in function.params if from_kernel else ():
            if (shown := _layout(local.type)) is not None:
                known[local] = shown.align
    for local, _ in assigned:
        if _layout(local.type) is not None:
            known.setdefault(local, BEST)
    changed = True
    while changed:
        changed = False
        for local, value in assigned:
            if local in known and (align := _of(value, known)) < known[local]:
                known[local] = align
                changed = True
    return known
