"""What is known of the references that variables hold, over all assignments, calls included.

*Alignment*: a reference to a byte string says nothing about alignment by its layout, but most refer to an
object of its own, which is aligned to 8, or to a field at a known offset. Knowing it, copies and comparisons
go by 8 bytes.

*Parts*: two references to whole objects or fields are the same or apart; those to slices and to members of
unions may overlap, so that copying from one to the other needs care.
"""

from __future__ import annotations

from pyebpf.frontend import tree
from pyebpf.frontend.build_data import variable_align
from pyebpf.frontend.build_frame import Calling, Frame, result_in_record
from pyebpf.frontend.tree_nodes import nodes
from pyebpf.frontend.types import Maybe, Ref, Type
from pyebpf.ir.ops import FunctionRole
from pyebpf.layout import ArrayType, Layout, StructType
from pyebpf.records import dataclass

BEST = 8


def _common(align: int, offset: int) -> int:
    while offset % align:
        align //= 2
    return align


def _layout(type_: Type) -> Layout | None:
    """The layout behind a reference, which may be optional."""
    of = type_.of if isinstance(type_, Maybe) else type_
    return of.layout if isinstance(of, Ref) else None


def alignment(expr: tree.Expr, known: dict[tree.Local, int]) -> int:
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
            return alignment(value, known)
        case tree.FieldOf(base=base, field=field):
            return _common(alignment(base, known), field.offset)
        case tree.ElementOf(base=base) if isinstance(expr.type, Ref):
            return _common(alignment(base, known), expr.type.layout.size)
        case tree.SliceOf(base=base, start=start) if isinstance(base.type, Ref):
            layout = base.type.layout
            size = layout.element.size if isinstance(layout, ArrayType) else 1
            return _common(alignment(base, known), start * size)
        case tree.Conditional(then=then, otherwise=otherwise):
            return min(alignment(then, known), alignment(otherwise, known))
        case tree.FunctionCall(function=function) if result_in_record(function):
            return BEST
        case tree.GlobalVar(decl=decl):
            return variable_align(decl.layout)
        case _:
            behind = _layout(expr.type)
            return behind.align if behind is not None else 1


def may_be_part(expr: tree.Expr, parts: frozenset[tree.Local]) -> bool:
    """Whether ``expr`` may refer to a slice or a member of a union; ``parts``: the variables that may."""
    match expr:
        case tree.SliceOf():
            return True
        case tree.GetLocal(local=local):
            return local in parts
        case tree.Bind(value=value):
            return may_be_part(value, parts)
        case tree.FieldOf(base=base):
            layout = _layout(base.type)
            return (isinstance(layout, StructType) and layout.union) or may_be_part(base, parts)
        case tree.ElementOf(base=base):
            return may_be_part(base, parts)
        case tree.Conditional(then=then, otherwise=otherwise):
            return may_be_part(then, parts) or may_be_part(otherwise, parts)
        case tree.FunctionCall(function=function):
            return not result_in_record(function)
        case _:
            return False


@dataclass(frozen=True, slots=True)
class Facts:
    """``alignments``: in bytes, of what each reference variable refers to. ``parts``: the variables that may
    refer to slices or members of unions."""

    alignments: dict[tree.Local, int]
    parts: frozenset[tree.Local]


def facts(frames: dict[tree.Function, Frame]) -> Facts:
    """What is known of the reference variables of all functions."""
    assigned = [(local, value) for local, value in _assignments(frames) if _layout(local.type) is not None]
    return Facts(_alignments(frames, assigned), _parts(frames, assigned))


Assigned = list[tuple[tree.Local, tree.Expr]]


def _assignments(frames: dict[tree.Function, Frame]) -> Assigned:
    """Every variable with every value that it gets, parameters too."""
    found: Assigned = []
    for function in frames:
        for node in nodes(function.body):
            match node:
                case tree.SetLocal(local=local, value=value) | tree.Bind(local=local, value=value):
                    found.append((local, value))
                case tree.FunctionCall(function=callee, args=args):
                    found.extend(zip(callee.params, args, strict=True))
                case tree.LoopCall(body=body, state=state) if state is not None:
                    found.extend(zip(body.params[1:], (state,), strict=True))
                case _:
                    pass
    return found


def _from_kernel(frames: dict[tree.Function, Frame]) -> list[tree.Local]:
    """Parameters whose arguments are not seen."""
    called = (
        f
        for f, frame in frames.items()
        if frame.calling is Calling.CALLBACK or frame.role is FunctionRole.GLOBAL
    )
    return [local for function in called for local in function.params]


def _alignments(frames: dict[tree.Function, Frame], assigned: Assigned) -> dict[tree.Local, int]:
    known = {local: BEST for local, _ in assigned}
    for function in frames:
        known |= {node.local: BEST for node in nodes(function.body) if isinstance(node, tree.Reserve)}
    for local in _from_kernel(frames):
        if (layout := _layout(local.type)) is not None:
            known[local] = layout.align
    changed = True
    while changed:
        changed = False
        for local, value in assigned:
            if (align := alignment(value, known)) < known[local]:
                known[local] = align
                changed = True
    return known


def _parts(frames: dict[tree.Function, Frame], assigned: Assigned) -> frozenset[tree.Local]:
    parts = frozenset(local for local in _from_kernel(frames) if _layout(local.type) is not None)
    while True:
        more = parts | {local for local, value in assigned if may_be_part(value, parts)}
        if more == parts:
            return parts
        parts = more
