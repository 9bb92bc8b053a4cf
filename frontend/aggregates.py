"""Structs, arrays and byte strings: construction, fields, elements, slices, and writing to them."""

from __future__ import annotations

from pyebpf.codes import Code
from pyebpf.diagnostics import Span
from pyebpf.frontend import conversions, tree
from pyebpf.frontend.arithmetic import constant, int_type
from pyebpf.frontend.expressions import operand
from pyebpf.frontend.packets import refuse_stale
from pyebpf.frontend.session import Context
from pyebpf.frontend.suggest import near
from pyebpf.frontend.types import Origin, Ref
from pyebpf.frontend.values import Operand, Static, describe
from pyebpf.hints import Any
from pyebpf.layout import ArrayType, BytesType, Field, IntType, Layout, StructType


def part(kind: Ref, layout: Layout) -> Ref:
    """The type of a reference to a part of the storage that ``kind`` refers to."""
    return Ref(layout, kind.origin, kind.shared, kind.owner)


def element_layout(layout: Layout) -> IntType | BytesType | ArrayType | StructType:
    """The layout of an element of an array or byte string."""
    if isinstance(layout, ArrayType):
        return layout.element
    return IntType(8, False)


# ---------------------------------------------------------------- structs


def find_field(context: Context, struct: StructType, name: str, span: Span) -> Field:
    """The field of a struct; refuses names that it does not have."""
    found = struct.field(name)
    if found is None:
        names = [f.name for f in struct.fields]
        raise context.refusal(
            Code.E0502,
            span,
            f"`{struct.name}` has no field `{name}`",
            notes=[f"its fields are {', '.join(f'`{n}`' for n in names)}"],
            help=near(name, names),
        )
    return found


def field(context: Context, base: tree.Expr, name: str, span: Span) -> tree.Expr:
    """``base.name`` as a reference."""
    assert isinstance(base.type, Ref) and isinstance(base.type.layout, StructType)
    found = find_field(context, base.type.layout, name, span)
    return tree.FieldOf(base=base, field=found, type=part(base.type, found.layout), span=span)


def construct(context: Context, struct: StructType, call: Any) -> tree.Expr:
    """``Key(slot=1, …)``: positions, then keywords; what is not given is zero."""
    span = context.span(call)
    values: list[tuple[Field, tree.Expr]] = []
    given: dict[str, Any] = {}
    fields = struct.fields
    pairs: list[tuple[Field, Any]] = []
    if len(call.args) > len(fields):
        raise context.refusal(
            Code.E0509, span, f"`{struct.name}` has {len(fields)} fields, {len(call.args)} values are given"
        )
    for found, node in zip(fields, call.args, strict=False):
        pairs.append((found, node))
    for keyword in call.keywords:
        context.coverage.mark(keyword)
        if keyword.arg is None:
            raise context.refusal(Code.E0101, keyword, "`**` cannot be compiled")
        pairs.append((find_field(context, struct, keyword.arg, context.span(keyword)), keyword.value))
    for found, node in pairs:
        if found.name in given:
            raise context.refusal(Code.E0509, node, f"the field `{found.name}` is given twice")
        given[found.name] = node
        expr = conversions.stored(context, operand(context, node), found.layout, f"the field `{found.name}`")
        values.append((found, expr))
    refuse_stale(context, [value for _, value in values])
    if struct.union and len(values) > 1:
        raise context.refusal(Code.E0509, span, f"`{struct.name}` is a union: give one field only")
    return tree.NewStruct(struct=struct, values=tuple(values), type=Ref(struct, Origin.LOCAL), span=span)


# ---------------------------------------------------------------- elements


def slice_bounds(context: Context, node: Any) -> tuple[int | None, int | None, int | None]:
    """The bounds of a slice, which must be constants."""
    context.coverage.mark(node)
    bounds: list[int | None] = []
    for child in (node.lower, node.upper, node.step):
        if child is None:
            bounds.append(None)
            continue
        found = operand(context, child)
        if isinstance(found, Static) and found.value is None:
            bounds.append(None)
        elif isinstance(found, Static) and isinstance(found.value, int):
            bounds.append(int(found.value))
        else:
            raise context.refusal(
                Code.E0506,
                child,
                "the bounds of a slice must be constants",
                notes=["a slice is a part of the memory with a size known while compiling"],
                help="index the elements one by one",
            )
    return bounds[0], bounds[1], bounds[2]


def subscript(context: Context, base: tree.Expr, node: Any, span: Span) -> tree.Expr:
    """``base[i]`` or ``base[a:b]`` of an array or byte string in memory, as a reference."""
    kind = base.type
    assert isinstance(kind, Ref) and isinstance(kind.layout, ArrayType | BytesType)
    if type(node.slice).__name__ == "Slice":
        return _slice(context, base, kind, kind.layout, node.slice, span)
    index = conversions.integer(context, operand(context, node.slice), "an integer as the index")
    return element(context, base, index, span)


def element(context: Context, base: tree.Expr, index: tree.Expr, span: Span) -> tree.Expr:
    """``base[index]`` as a reference, with a run-time check unless the index is proven to be inside."""
    kind = base.type
    assert isinstance(kind, Ref) and isinstance(kind.layout, ArrayType | BytesType)
    length = kind.layout.length
    known = int_type(index)
    if known.hi < -length or known.lo >= length:
        raise context.refusal(
            Code.E0501,
            index.span,
            f"the index {known.lo if known.lo == known.hi else 'here'} is outside of {describe(kind)}, "
            f"which has {length} element{'s' if length != 1 else ''}",
        )
    if isinstance(index, tree.IntConst) and index.value < 0:
        index = constant(index.value + length, index.span)
        known = int_type(index)
    inside = known.lo >= 0 and known.hi < length
    checked = not (known.seen and inside)
    if checked and not (known.exact and inside):  # else the test is for the verifier alone
        context.raises(tree.Exc.INDEX)
    layout = element_layout(kind.layout)
    return tree.ElementOf(base=base, index=index, checked=checked, type=part(kind, layout), span=span)


def _slice(
    context: Context, base: tree.Expr, kind: Ref, layout: ArrayType | BytesType, node: Any, span: Span
) -> tree.Expr:
    lower, upper, step = slice_bounds(context, node)
    if step not in (None, 1):
        raise context.refusal(Code.E0506, node.step, "a slice of memory has step 1")
    start, stop, _ = slice(lower, upper).indices(layout.length)
    if stop <= start:
        raise context.refusal(Code.E0506, node, "this slice is empty")
    size = stop - start
    of: Layout = BytesType(size) if isinstance(layout, BytesType) else ArrayType(layout.element, size)
    return tree.SliceOf(base=base, start=start, stop=stop, type=part(kind, of), span=span)


def table_element(context: Context, base: Static, index: tree.Expr, span: Span) -> tree.Expr:
    """``TABLE[i]`` of a constant tuple or byte string, as a reference into ``.rodata``."""
    ref = table(context, base)
    return element(context, ref, index, span)


def table(context: Context, base: Static) -> tree.Expr:
    """A constant tuple of integers, or a byte string, as memory in ``.rodata``."""
    if isinstance(base.value, bytes):
        return conversions.byte_string(base.value, base.span)
    values = base.value
    if not isinstance(values, tuple) or not values or not all(isinstance(v, int) for v in values):
        raise context.refusal(
            Code.E0204,
            base.span,
            "only tuples of integers can be indexed at run time",
            help="unroll with a `for` loop",
        )
    numbers = [int(v) for v in values]
    element_type = _smallest(context, numbers, base.span)
    data = b"".join(
        n.to_bytes(element_type.size, _order(context), signed=element_type.signed) for n in numbers
    )
    kind = Ref(ArrayType(element_type, len(numbers)), Origin.CONSTANT)
    return tree.ConstData(data=data, type=kind, span=base.span)


def _order(context: Context) -> Any:
    return context.session.target.byteorder


def _smallest(context: Context, numbers: list[int], span: Span) -> IntType:
    """The smallest integer type that holds all of a table."""
    signed = min(numbers) < 0
    for bits in (8, 16, 32, 64):
        kind = IntType(bits, signed)
        if kind.lo <= min(numbers) and max(numbers) <= kind.hi:
            return kind
    raise context.refusal(Code.E0206, span, "the numbers of this table do not fit into one 64-bit type")


# ---------------------------------------------------------------- writing


def write(context: Context, ref: tree.Expr, found: Operand, span: Span, what: str) -> None:
    """``place = found`` for a place in memory: scalars are stored, everything else is copied."""
    kind = ref.type
    assert isinstance(kind, Ref)
    conversions.refuse_read_only(context, kind, ref.span)
    value = conversions.stored(context, found, kind.layout, what)
    refuse_stale(context, [ref, value])
    if isinstance(kind.layout, IntType):
        context.out.append(tree.StoreTo(ref=ref, value=value, span=span))
    else:
        context.out.append(tree.CopyInto(target=ref, source=value, span=span))
