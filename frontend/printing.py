"""``print(f"…")`` and ``bpf.snprintf``: f-strings become the kernel's format strings.

What the kernel's ``bpf_bprintf_prepare`` takes is the limit: integers as ``%lld``, ``%llu``, ``%llx``, byte strings as
``%s``, with width, ``0``, ``+``, ``-`` and space. A specification that would print something else than Python does
is refused.
"""

from __future__ import annotations

import re

from pyebpf import btf
from pyebpf.codes import Code
from pyebpf.diagnostics import Span
from pyebpf.frontend import conversions, kernel_types, tree
from pyebpf.frontend.arguments import plain_arguments
from pyebpf.frontend.arithmetic import constant, int_type
from pyebpf.frontend.expressions import operand
from pyebpf.frontend.helpers import permitted
from pyebpf.frontend.session import Context, Refused
from pyebpf.frontend.types import (
    I64,
    Bool,
    ContextPtr,
    Handle,
    Int,
    Kernel,
    Maybe,
    Origin,
    Pointer,
    Ref,
    Trust,
)
from pyebpf.frontend.values import Operand, Static, describe
from pyebpf.hints import Any
from pyebpf.layout import U64, ArrayType, BytesType
from pyebpf.uapi.helpers import helper_by_name

_SPEC = re.compile(
    r"(?P<align>[<>]?)(?P<sign>[+ ]?)(?P<alt>#?)(?P<zero>0?)(?P<width>[1-9][0-9]*)?(?P<kind>[a-zA-Z]?)\Z"
)


def print_call(context: Context, node: Any) -> Operand:
    """``print(f"…")``: one f-string, or a constant string."""
    plain_arguments(context, node)
    if node.keywords:
        raise context.refusal(
            Code.E0101,
            node.keywords[0],
            "`print` takes no keywords in programs",
            help="write it into the f-string",
        )
    if len(node.args) != 1:
        raise context.refusal(
            Code.E0301, node, "`print` takes one f-string in programs", help='write `print(f"a={a} b={b}")`'
        )
    span = context.span(node)
    text, args = formatted(context, node.args[0])
    name = "trace_printk" if len(args) <= 3 else "trace_vprintk"
    helper = helper_by_name(name)
    assert helper is not None
    permitted(context, helper, span, "`print`")
    return tree.Print(format=text.encode(), args=tuple(args), span=span)


def seq_printf(context: Context, node: Any) -> Operand:
    """``bpf.seq_printf(f"…")`` or ``bpf.seq_printf(meta.seq, f"…")``: what an iterator writes. 0, or a negative error
    number."""
    plain_arguments(context, node)
    if len(node.args) not in (1, 2) or node.keywords:
        raise context.refusal(
            Code.E0903,
            node,
            "`seq_printf` takes an f-string, and before it the file if that is another one",
        )
    span = context.span(node)
    helper = helper_by_name("seq_printf")
    assert helper is not None
    permitted(context, helper, span)
    file = (
        _own_file(context, span)
        if len(node.args) == 1
        else conversions.runtime(context, operand(context, node.args[0]))
    )
    if not isinstance(file.type, Kernel) or btf.name_of(file.type.of) != "seq_file":
        raise conversions.refuse_type(context, file, "the iterator's file, `meta.seq`")
    text, args = formatted(context, node.args[-1])
    kind = Int(False, -(1 << 31), (1 << 31) - 1, seen=False)
    return tree.Print(format=text.encode(), args=tuple(args), file=file, type=kind, span=span)


def _own_file(context: Context, span: Span) -> tree.Expr:
    """``meta.seq`` of the iterator's first argument, which every iterator has."""
    function = context.instance.function
    spec = context.session.kernel_types()
    meta = None if spec is None else spec.find("bpf_iter_meta", btf.Kind.STRUCT)
    if function.kind is not tree.FunctionKind.ENTRY or not function.params or meta is None:
        raise context.refusal(
            Code.E0903,
            span,
            "only the program itself knows the iterator's file",
            help="pass `meta.seq` along",
        )
    local = function.params[0]
    assert isinstance(local.type, ContextPtr)
    row = local.type.decl.context.field("args")
    assert row is not None
    base = tree.GetLocal(local=local, type=local.type, span=span)
    first = tree.ContextField(context=base, row=row, index=0, type=Kernel(meta, Trust.TRACKED), span=span)
    place = kernel_types.member(context, first, "seq", span)
    return kernel_types.read_place(context, place, place.type.of, span)


def snprintf(context: Context, node: Any) -> Operand:
    """``bpf.snprintf(buffer, f"…")``: the number of bytes that the whole text needs, NUL included."""
    plain_arguments(context, node)
    if len(node.args) != 2 or node.keywords:
        raise context.refusal(Code.E0903, node, "`snprintf` takes a buffer and an f-string")
    span = context.span(node)
    buffer = conversions.runtime(context, operand(context, node.args[0]))
    if not isinstance(buffer.type, Ref) or not isinstance(buffer.type.layout, BytesType):
        raise conversions.refuse_type(context, buffer, "a byte buffer, such as `bpf.chars(64)`")
    if buffer.type.origin is Origin.CONSTANT:
        raise context.refusal(Code.E0505, buffer.span, "this is constant and cannot be written")
    text, args = formatted(context, node.args[1])
    helper = helper_by_name("snprintf")
    assert helper is not None
    permitted(context, helper, span)
    for expr in args:
        if not isinstance(expr.type, Int):
            raise context.refusal(
                Code.E0808,
                expr.span,
                "`snprintf` formats integers only",
                notes=["byte strings would have to be passed as addresses in memory"],
                help="copy the bytes into a field",
            )
    size = buffer.type.layout.length
    layout = ArrayType(U64, max(1, len(args)))
    data: tree.Expr = tree.NewArray(
        layout=layout, items=tuple(args), type=Ref(layout, Origin.LOCAL), span=span
    )
    if not args:
        data = tree.NullConst(type=Maybe(Pointer(Handle.MEMORY)), span=span)
    return tree.HelperCall(
        helper=helper,
        args=(
            buffer,
            constant(size, span),
            conversions.byte_string(text.encode() + b"\0", span),
            data,
            constant(8 * len(args), span),
        ),
        checked=False,
        type=I64,
        span=span,
    )


def formatted(context: Context, node: Any) -> tuple[str, list[tree.Expr]]:
    """The kernel's format and its arguments."""
    if type(node).__name__ != "JoinedStr":
        found = operand(context, node)
        if isinstance(found, Static) and isinstance(found.value, str):
            return _literal(context, found.value, found.span), []
        raise context.refusal(
            Code.E0301,
            node,
            "an f-string or a constant string is wanted here",
            help='write `f"{x}"`',
        )
    context.coverage.mark(node)
    pieces: list[str] = []
    args: list[tree.Expr] = []
    for child in node.values:
        context.coverage.mark(child)
        if type(child).__name__ == "Const":
            pieces.append(_literal(context, child.value, context.span(child)))
            continue
        piece, expr = _value(context, child)
        pieces.append(piece)
        args += expr
    return "".join(pieces), args


def _literal(context: Context, text: str, span: Span) -> str:
    bad = next((c for c in text if not (c.isascii() and (c.isprintable() or c in "\t\n"))), None)
    if bad is not None:
        raise context.refusal(
            Code.E0301, span, f"the kernel prints ASCII only, not {bad!r}", help="write it in ASCII"
        )
    return text.replace("%", "%%")


def _value(context: Context, node: Any) -> tuple[str, list[tree.Expr]]:
    """One ``{value:spec}``."""
    spec = _constant_spec(context, node)
    found = operand(context, node.value)
    span = context.span(node.value)
    if node.conversion not in (-1, None):
        _refuse_conversion(context, node, found, spec)
    if isinstance(found, Static) and isinstance(found.value, int | str):
        value: Any = found.value
        try:
            return _literal(context, format(value, spec), span), []
        except ValueError as error:
            raise context.refusal(Code.E0301, span, f"this cannot be printed so: {error}") from None
    expr = conversions.runtime(context, found)
    parts = _SPEC.match(spec)
    if parts is None:
        raise _refuse_spec(context, span, spec)
    match expr.type:
        case Int():
            return _integer_piece(context, expr, parts, spec), [expr]
        case Bool():
            if parts["kind"] not in ("d", "x", "X"):
                raise context.refusal(
                    Code.E0301, span, "a bool is printed as a number: say so with `:d`", help="write `{x:d}`"
                )
            number = conversions.to_int(expr)
            return _integer_piece(context, number, parts, spec), [number]
        case Ref(layout=BytesType()):
            if parts["kind"] not in ("", "s") or parts["zero"] or parts["sign"] or parts["alt"]:
                raise _refuse_spec(context, span, spec)
            minus = "" if parts["align"] == ">" or not parts["width"] else "-"
            return f"%{minus}{parts['width'] or ''}s", [expr]
        case Kernel(of=of) if conversions.is_text(of):
            if parts["kind"] not in ("", "s") or parts["zero"] or parts["sign"] or parts["alt"]:
                raise _refuse_spec(context, span, spec)
            minus = "" if parts["align"] == ">" or not parts["width"] else "-"
            return f"%{minus}{parts['width'] or ''}s", [expr]
        case Maybe():
            raise conversions.refuse_optional(context, span, describe(expr.type.of))
        case _:
            raise context.refusal(
                Code.E0301, span, f"{describe(expr.type)} cannot be printed", help="print its fields"
            )


def _refuse_conversion(context: Context, node: Any, found: Operand, spec: str) -> None:
    """Refuse ``!r`` and the like where they make a difference: not for integers (``{x=}`` stands for ``x={x!r}``)."""
    number = isinstance(found, Static) and isinstance(found.value, int)
    number |= isinstance(found, tree.Node) and isinstance(found.type, Int)
    if spec or not number:
        raise context.refusal(
            Code.E0101,
            node.value,
            f"`!{chr(node.conversion)}` cannot be compiled here",
            notes=["`{x=}` contains it: it stands for `x={x!r}`"],
            help="print the value itself",
        )


def _integer_piece(context: Context, expr: tree.Expr, parts: re.Match[str], spec: str) -> str:
    kind = int_type(expr)
    letter = parts["kind"] or "d"
    if letter not in ("d", "x", "X") or (parts["align"] == "<" and parts["zero"]):
        raise _refuse_spec(context, expr.span, spec)
    if parts["sign"] and (letter != "d" or kind.unsigned):
        raise _refuse_spec(context, expr.span, spec)  # the kernel prints signs of signed decimals only
    if letter in "xX" and not kind.nonnegative:
        raise context.refusal(
            Code.E0303,
            expr.span,
            "this may be negative, and Python and the kernel print negative numbers in hexadecimal differently",
            help="convert it: `u64(x)`",
        )
    flags = ("-" if parts["align"] == "<" else "") + parts["sign"] + parts["zero"]
    width = int(parts["width"] or 0)
    prefix = ""
    if parts["alt"]:
        if letter not in "xX" or (parts["width"] and not parts["zero"]):
            raise _refuse_spec(context, expr.span, spec)
        prefix, width = f"0{letter}", max(0, width - 2)
    conversion = {"d": "llu" if kind.unsigned else "lld", "x": "llx", "X": "llX"}[letter]
    return f"{prefix}%{flags}{width or ''}{conversion}"


def _refuse_spec(context: Context, span: Span, spec: str) -> Refused:
    return context.refusal(
        Code.E0301,
        span,
        f"the format `{spec}` is not available",
        notes=["integers take `d`, `x`, `X` with width, `0`, `+`, `<`; byte strings take `s` with a width"],
    )


def _constant_spec(context: Context, node: Any) -> str:
    """The text behind the colon, which must be constant."""
    if node.format_spec is None:
        return ""
    context.coverage.mark(node.format_spec)
    pieces: list[str] = []
    for child in node.format_spec.values:
        context.coverage.mark(child)
        if type(child).__name__ == "Const":
            pieces.append(child.value)
            continue
        found = operand(context, child.value)
        if not isinstance(found, Static) or not isinstance(found.value, int | str):
            raise context.refusal(
                Code.E0101, child.value, "a format known only at run time cannot be compiled"
            )
        pieces.append(str(found.value))
    return "".join(pieces)
