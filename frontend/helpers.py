"""Calls of kernel helpers: who may call them, from which kernel, and what each argument must be."""

from __future__ import annotations

from collections.abc import Sequence

from pyebpf import btf
from pyebpf.codes import Code
from pyebpf.declare import HelperDecl, MapDecl, declaration_of
from pyebpf.diagnostics import Span
from pyebpf.frontend import conversions, helper_args, kernel_types, map_callbacks, tree, usdt
from pyebpf.frontend.arguments import arguments
from pyebpf.frontend.licence import lacking_licence
from pyebpf.frontend.maps import value_type
from pyebpf.frontend.packets import packet_changed, refuse_stale
from pyebpf.frontend.resources import release
from pyebpf.frontend.session import Context, Refused
from pyebpf.frontend.types import (
    I64,
    NONE,
    U64,
    Handle,
    Int,
    Kernel,
    Maybe,
    Origin,
    Pointer,
    Ref,
    Trust,
    Type,
)
from pyebpf.frontend.values import FoundInt, Operand, Static
from pyebpf.hints import Any
from pyebpf.layout import BytesType, IntType
from pyebpf.uapi.constants import AttachType
from pyebpf.uapi.helpers import (
    ConditionKind,
    Helper,
    Prototype,
    Return,
    ReturnKind,
    helper_by_name,
)
from pyebpf.uapi.program_kind import Arguments
from pyebpf.uapi.sections import section_target
from pyebpf.uapi.target_rules import FUNCTIONS

_SHORT: dict[str, int] = {"get_current_comm": 16}
"""Helpers that fill a buffer and may be called without it: the size of the bytes that they then return."""


def call(context: Context, declaration: HelperDecl, node: Any, *, checked: bool = False) -> Operand:
    """``bpf.helper(…)``: the arguments are those of C, in order; keywords are the names of the UAPI header."""
    helper = helper_by_name(declaration.name)
    span = context.span(node)
    if helper is None:
        raise context.bug(f"a declaration of a helper that does not exist: {declaration.name}", span)
    prototype = permitted(context, helper, context.span(node.func))
    if declaration.name in _SHORT and not node.args and not node.keywords:
        return _filled(context, helper, _SHORT[declaration.name], span)
    names = [_python_name(argument.name) for argument in prototype.args]
    if helper.variadic:
        names += [f"arg{n}" for n in range(5 - len(names))]
    optional = 5 - len(prototype.args) if helper.variadic else 0
    given = arguments(context, node, names, optional=optional, code=Code.E0805)
    values = [value for n, value in enumerate(given.values) if given.present(n)]
    called = call_with(context, helper, values, span, checked=checked, spans=given.spans)
    if helper.name == "get_attach_cookie" and context.kind.arguments is Arguments.USDT:
        assert isinstance(called, tree.HelperCall)
        return usdt.cookie(context, called)
    return called


def _python_name(name: str) -> str:
    return f"{name}_" if name in ("from", "in", "is", "not") else name


def permitted(context: Context, helper: Helper, span: Span, what: str = "") -> Prototype:
    """The prototype for the program type; refuses helpers that the type, the kernel or the licence excludes.

    ``what`` is what the user wrote, where that is not the helper's name.
    """
    what = what or f"`{helper.name}`"
    terms = helper.available(context.kind.prog_type)
    if terms is None:
        allowed = sorted(t.name.lower() for t in helper.program_types)
        raise context.refusal(
            Code.E0802,
            span,
            f"programs of type {context.kind.name} may not call {what}",
            notes=["it is allowed for " + ", ".join(allowed)] if allowed else ["no program type may call it"],
        )
    target = context.session.target.kernel
    if max(terms.since, helper.since) > target:
        since = max(terms.since, helper.since)
        raise context.refusal(
            Code.E0803,
            span,
            f"{what} may be called since Linux {since[0]}.{since[1]}, the target is {target[0]}.{target[1]}",
            help="build for a later kernel, or do without it",
        )
    for condition in terms.conditions:
        if condition.kind is ConditionKind.SLEEPABLE and not context.kind.sleepable:
            raise context.refusal(Code.E0802, span, f"only sleepable programs may call {what}")
        if condition.kind is ConditionKind.ATTACH_TARGET:
            _check_target(context, condition.value, what, span)
        if (
            condition.kind is ConditionKind.ATTACH_TYPE
            and context.kind.attach_type not in condition.attach_types
        ):
            names = ", ".join(sorted(a.name for a in condition.attach_types))
            raise context.refusal(
                Code.E0802, span, f"only programs loaded for {names} may call `{helper.name}`"
            )
    if terms.prototype.gpl_only:
        require_gpl(context, what, span)
    return terms.prototype


_AT_FUNCTIONS = frozenset({AttachType.TRACE_FENTRY, AttachType.TRACE_FEXIT, AttachType.MODIFY_RETURN})


def _check_target(context: Context, rule: str, what: str, span: Span) -> None:
    allowed = FUNCTIONS.get(rule)
    target = section_target(context.kind.section)
    if allowed is None or context.kind.attach_type not in _AT_FUNCTIONS or target in allowed:
        return
    raise context.refusal(
        Code.E0802,
        span,
        f"{what} may not be called at `{target}`",
        notes=["it is allowed at " + ", ".join(sorted(allowed)) + ", in security hooks and in iterators"],
    )


def require_gpl(context: Context, what: str, span: Span) -> None:
    """Refuse GPL-only services without a licence that the kernel takes for GPL-compatible."""
    if not context.session.gpl:
        raise Refused(lacking_licence(context.session.license, what, span))


def _filled(context: Context, helper: Helper, size: int, span: Span) -> Operand:
    """``get_current_comm()``: fills a byte string of its own and gives that."""
    kind = Ref(BytesType(size), Origin.LOCAL)
    buffer = tree.NewArray(layout=BytesType(size), items=(), type=kind, span=span)
    local = context.temporary(kind, span)
    bound = tree.Bind(local=local, value=buffer, type=kind, span=span)
    length = tree.IntConst(value=size, type=Int(False, size, size), span=span)
    filled = tree.HelperCall(
        helper=helper, args=(bound, length), checked=False, type=Int(False, -4095, 0, seen=False), span=span
    )
    # The call gives an error number, which is 0 for a buffer of this size; what is wanted is the buffer.
    always = tree.Compare(op=tree.CompareOp.LE, left=filled, right=length, span=span)
    again = tree.GetLocal(local=local, type=kind, span=span)
    return tree.Conditional(test=always, then=again, otherwise=again, type=kind, span=span)


def call_with(
    context: Context,
    helper: Helper,
    values: Sequence[Operand],
    span: Span,
    *,
    checked: bool,
    spans: Sequence[Span] = (),
) -> Operand:
    """A call with given operands."""
    prototype = permitted(context, helper, span)
    if helper.id == 12:
        raise context.refusal(Code.E0907, span, "a tail call is written `return progs[i](ctx)`")
    places = [spans[n] if n < len(spans) else span for n in range(len(values))]
    if helper.name == "for_each_map_elem":
        args = map_callbacks.arguments_of(context, values, places, span)
    else:
        args = helper_args.convert(context, helper, prototype, values, places, span)
    refuse_stale(context, args)
    expr = tree.HelperCall(
        helper=helper,
        args=tuple(args),
        checked=False,
        type=_result(context, prototype, values, span),
        span=span,
    )
    if checked:
        check_result(context, expr)
    for argument, found in zip(prototype.args, args, strict=False):
        if argument.releases:
            release(context, found, span)
    if helper.changes_packet:
        packet_changed(context, span)
    if prototype.returns.acquires:
        context.acquired.append(expr)
    kind = expr.type
    of = kind.of if isinstance(kind, Maybe) else kind
    if isinstance(of, Ref) and isinstance(of.layout, IntType):
        return FoundInt(expr, span) if isinstance(kind, Maybe) else conversions.read(expr)
    return expr


def check_result(context: Context, expr: tree.HelperCall) -> None:
    """Make a call raise instead of returning an error number or a null pointer."""
    prototype = expr.helper.prototype(context.kind.prog_type)
    expr.checked = True
    if isinstance(expr.type, Int) and not expr.type.unsigned:
        expr.type = Int(False, 0, expr.type.hi, seen=False)
    elif isinstance(expr.type, Maybe):
        expr.type = expr.type.of
    if prototype.returns.kind is ReturnKind.INTEGER:
        if not prototype.returns.signed:
            raise context.refusal(
                Code.E0810,
                expr.span,
                f"`{expr.helper.name}` does not return an error number, so there is nothing to check",
                help="call it without `bpf.checked`",
            )
        context.raises(tree.Exc.OS)
    elif prototype.returns.nullable:
        context.raises(tree.Exc.REFERENCE)
    else:
        raise context.refusal(
            Code.E0810, expr.span, f"`{expr.helper.name}` cannot fail, so there is nothing to check"
        )


def _result(context: Context, prototype: Prototype, values: Sequence[Operand], span: Span) -> Type:
    """The type of a call's result."""
    returns = prototype.returns
    kind: Type
    match returns.kind:
        case ReturnKind.INTEGER:
            if returns.bits == 64:
                kind = I64 if returns.signed else U64
            else:
                lo = -(1 << (returns.bits - 1)) if returns.signed else 0
                hi = (1 << (returns.bits - 1)) - 1 if returns.signed else (1 << returns.bits) - 1
                kind = Int(False, lo, hi, seen=False)
            return kind
        case ReturnKind.VOID:
            return NONE
        case ReturnKind.MAP_VALUE:
            pointed: Ref | Pointer = _map_value(values)
        case ReturnKind.SOCKET | ReturnKind.TCP_SOCK | ReturnKind.SOCK_COMMON:
            pointed = Pointer(Handle.SOCKET)
        case ReturnKind.RINGBUF_MEM | ReturnKind.DYNPTR_MEM:
            pointed = Pointer(Handle.MEMORY)
        case ReturnKind.BTF_ID if returns.btf_type:
            return _kernel_object(context, returns, span)
        case _:
            pointed = Pointer(Handle.KERNEL)
    return Maybe(pointed) if returns.nullable else pointed


def _kernel_object(context: Context, returns: Return, span: Span) -> Type:
    """An object that the verifier knows by its type; as all addresses in the kernel it may be null."""
    spec = kernel_types.specification(context, span)
    of = spec.find(returns.btf_type, btf.Kind.STRUCT)
    return Kernel(of, Trust.TRACKED) if of is not None else Pointer(Handle.KERNEL)


def _map_value(values: Sequence[Operand]) -> Ref | Pointer:
    for value in values:
        declaration = declaration_of(value.value) if isinstance(value, Static) else None
        if isinstance(declaration, MapDecl) and declaration.value is not None:
            return value_type(declaration, declaration.value)
    return Pointer(Handle.MEMORY)
