"""The parameters of programs: a program of the network gets its context, a tracing program what its target was called with.

The kernel gives a program one pointer, its context; everything else is read from there at the beginning. Which parameter
gets what:

- one that is called ``ctx``, or annotated with a context class, gets the context;
- one that is called ``retval`` gets what the probed function returned, in programs that run when it returns;
- all others get the arguments of the target, in their order, as C's macros ``BPF_KPROBE``, ``BPF_PROG``,
  ``BPF_KSYSCALL`` and ``BPF_USDT`` do it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from pyebpf import btf
from pyebpf.codes import Code
from pyebpf.declare import ContextDecl, ProgramDecl
from pyebpf.diagnostics import Span
from pyebpf.frontend import conversions, tree, usdt
from pyebpf.frontend.annotations import Annotation, read_annotation
from pyebpf.frontend.arithmetic import reinterpret
from pyebpf.frontend.instances import parameters_of
from pyebpf.frontend.kernel_targets import Signature, check_target, signature_of, tracepoint_context
from pyebpf.frontend.kernel_types import integer_layout, pointer_to
from pyebpf.frontend.session import Context
from pyebpf.frontend.types import (
    BOOL,
    I64,
    U64,
    Bool,
    ContextPtr,
    Int,
    Kernel,
    Trust,
    Type,
    User,
)
from pyebpf.frontend.values import VariableType, describe
from pyebpf.hints import Any
from pyebpf.layout import U8, IntType
from pyebpf.records import dataclass, field
from pyebpf.uapi.contexts import TRACEPOINT, ContextField
from pyebpf.uapi.contexts import Context as ContextRow
from pyebpf.uapi.program_kind import Arguments, TargetKind
from pyebpf.uapi.registers import REGISTERS
from pyebpf.uapi.target_rules import ORDERS
from pyebpf.uapi.usdt import MAX_ARGUMENTS

_CONTEXT, _RESULT = "ctx", "retval"
_AT_RETURN = {
    TargetKind.FUNCTION: "use a kind that runs at the return: `kretprobe`, `fexit`",
    TargetKind.SYSCALL: "use a kind that runs at the return: `kretsyscall`",
    TargetKind.USER_FUNCTION: "use a kind that runs at the return: `uretprobe`",
}


@dataclass(slots=True)
class Entry:
    """What a program begins with. ``types`` are those of its parameters, ``values`` what they are set to from ``context``;
    without one the parameters are the program's own, the context or none. ``before``: what all values but the context itself
    need."""

    context: tree.Local | None
    types: list[VariableType] = field(default_factory=list)
    values: list[tree.Expr] = field(default_factory=list)
    before: tree.SetLocal | None = None


@dataclass(frozen=True, slots=True)
class _Parameter:
    name: str
    node: Any
    annotation: Annotation | None
    span: Span


def entry_of(header: Context, decl: ProgramDecl) -> Entry:
    """What the parameters of ``decl`` get. Refuses what its kind of program cannot give."""
    check_target(header, decl)
    for default in header.scope.node.args.defaults:
        raise header.refusal(
            Code.E0905,
            default,
            "a parameter of a program has no default",
            notes=["who calls a program always gives all that it takes"],
        )
    parameters = list(_parameters(header))
    if decl.kind.arguments is Arguments.NONE and decl.kind.target is TargetKind.NOTHING:
        return _context_only(header, decl, parameters)
    of = _context(header, decl)
    local = tree.Local(_CONTEXT, ContextPtr(ContextDecl(of)), header.instance.function.span)
    reader = _Reader(header, decl, of, local, len(parameters))
    entry = Entry(local, before=reader.before)
    for parameter in parameters:
        kind, value = reader.read(parameter)
        entry.types.append(kind)
        entry.values.append(value)
    return entry


def _parameters(header: Context) -> Iterator[_Parameter]:
    node = header.scope.node
    annotations = [*node.args.posonlyargs_annotations, *node.args.annotations]
    for parameter, annotation in zip(parameters_of(node), annotations, strict=True):
        read = None if annotation is None else read_annotation(header, annotation)
        yield _Parameter(parameter.name, annotation or parameter, read, header.span(parameter))


def _context_only(header: Context, decl: ProgramDecl, parameters: Sequence[_Parameter]) -> Entry:
    """Programs of the network: one parameter, the context, or none."""
    if decl.kind.context is None or len(parameters) > 1:
        if parameters:
            raise header.refusal(
                Code.E0903,
                parameters[1].span if len(parameters) > 1 else parameters[0].span,
                f"a program of type {decl.kind.name} takes one parameter, its context",
            )
        return Entry(None)
    if not parameters:
        return Entry(None)
    wanted = ContextPtr(ContextDecl(_of_target(header, decl.kind.context)))
    _check_context(header, decl, parameters[0], wanted)
    return Entry(None, [wanted])


def _check_context(header: Context, decl: ProgramDecl, parameter: _Parameter, wanted: ContextPtr) -> None:
    stated = None if parameter.annotation is None else parameter.annotation.type
    if stated is not None and not _same_context(stated, wanted):
        raise header.refusal(
            Code.E0301,
            parameter.node,
            f"the context of a program of type {decl.kind.name} is `{wanted.decl.context.name}`",
        )


def _same_context(stated: VariableType, wanted: ContextPtr) -> bool:
    if not isinstance(stated, ContextPtr):
        return False
    name, meant = stated.decl.context.name, wanted.decl.context.name
    return name == meant or (name == TRACEPOINT.name and meant.startswith(f"{TRACEPOINT.name} "))


def _of_target(header: Context, of: ContextRow) -> ContextRow:
    """A context with the registers of the target's architecture."""
    registers = REGISTERS[header.session.target.arch]
    match of.name:
        case "pt_regs":
            return registers.context
        case "bpf_perf_event_data":
            return registers.sample
        case _:
            return of


def _context(header: Context, decl: ProgramDecl) -> ContextRow:
    if decl.kind.target is TargetKind.TRACEPOINT:
        return tracepoint_context(header, decl)
    assert decl.kind.context is not None
    return _of_target(header, decl.kind.context)


class _Reader:
    """Gives one parameter after the other what it gets."""

    def __init__(
        self, header: Context, decl: ProgramDecl, of: ContextRow, local: tree.Local, count: int
    ) -> None:
        self.header = header
        self.decl = decl
        self.of = of
        self.local = local
        self.taken = 0
        self.count = count
        self.before = self._before()
        self.signature: Signature | None = None
        if count and decl.kind.arguments is not Arguments.NONE:
            self.signature = signature_of(header, decl)

    def read(self, parameter: _Parameter) -> tuple[VariableType, tree.Expr]:
        """The type of a parameter and what it is set to."""
        stated = None if parameter.annotation is None else parameter.annotation.type
        if isinstance(stated, ContextPtr) or (stated is None and parameter.name == _CONTEXT):
            wanted = ContextPtr(ContextDecl(self.of))
            _check_context(self.header, self.decl, parameter, wanted)
            return wanted, tree.GetLocal(local=self.local, type=wanted, span=parameter.span)
        kind = self.decl.kind
        match kind.arguments:
            case Arguments.NONE:
                raise self._refuse(parameter, f"a program of type {kind.name} takes its context only")
            case Arguments.RESULT:
                if self.taken or parameter.name != _RESULT:
                    raise self._no_arguments(parameter)
                self.taken += 1
                return self._register(
                    parameter, REGISTERS[self.header.session.target.arch].result, self._result()
                )
            case Arguments.REGISTERS:
                names = REGISTERS[self.header.session.target.arch].arguments
                number = self._next(parameter, len(names))
                return self._register(parameter, names[number], self._declared(parameter, number))
            case Arguments.SYSCALL:
                return self._syscall(parameter, self._next(parameter, 6))
            case Arguments.USDT:
                return self._usdt(parameter, self._next(parameter, MAX_ARGUMENTS))
            case Arguments.SLOTS | Arguments.BTF | Arguments.BTF_RESULT:
                return self._slot(parameter)

    # ------------------------------------------------------------ which one

    def _next(self, parameter: _Parameter, limit: int) -> int:
        if parameter.name == _RESULT:
            raise self._refuse(
                parameter,
                f"a program of type {self.decl.kind.name} runs before its target returns anything",
                help=_AT_RETURN.get(self.decl.kind.target, ()),
            )
        if self.taken >= limit:
            place = (
                "described by a probe"
                if self.decl.kind.arguments is Arguments.USDT
                else "passed in registers"
            )
            raise self._refuse(parameter, f"no more than {limit} arguments are {place}")
        self.taken += 1
        return self.taken - 1

    def _declared(self, parameter: _Parameter, number: int) -> btf.Type | None:
        """What the target's own declaration says of an argument, if it is known."""
        known = self.signature
        if known is None or known.result_only:
            return None
        if number >= len(known.params):
            raise self._refuse(
                parameter,
                f"`{self.decl.target}` has {_count(len(known.params), 'argument')}",
                notes=[f"it is called with {', '.join(f'`{p.name}`' for p in known.params)}"]
                if known.params
                else [],
            )
        self._check_name(parameter, known, number)
        return known.params[number].type

    def _check_name(self, parameter: _Parameter, known: Signature, number: int) -> None:
        """A name of the target's at another place is a mistake: arguments go by their order."""
        names = [p.name for p in known.params]
        if parameter.name in names and names.index(parameter.name) != number:
            actual = names.index(parameter.name)
            raise self._refuse(
                parameter,
                f"`{parameter.name}` is argument {actual + 1} of `{self.decl.target}`, this is argument {number + 1}",
                notes=["arguments go by their order: " + ", ".join(f"`{n}`" for n in names)],
                help="name all parameters before it; those that are not used cost nothing",
            )

    def _result(self) -> btf.Type | None:
        return None if self.signature is None else self.signature.result

    # ------------------------------------------------------------ what it is

    def _field(self, row: ContextField, index: int, kind: Type, span: Span) -> tree.ContextField:
        base = tree.GetLocal(local=self.local, type=self.local.type, span=span)
        return tree.ContextField(context=base, row=row, index=index, type=kind, span=span)

    def _register(
        self, parameter: _Parameter, register: str, declared: btf.Type | None
    ) -> tuple[VariableType, tree.Expr]:
        row = self.of.field(register)
        assert row is not None
        return self._typed(parameter, self._field(row, 0, U64, parameter.span), declared, Trust.PROBED)

    def _before(self) -> tree.SetLocal | None:
        """Where the arguments are, found once for all of them."""
        span = self.header.instance.function.span
        context = tree.GetLocal(local=self.local, type=self.local.type, span=span)
        match self.decl.kind.arguments:
            case Arguments.SYSCALL:
                spec = self.header.session.kernel_types()
                kind = Kernel(None if spec is None else spec.find("pt_regs", btf.Kind.STRUCT))
                where = tree.SyscallRegisters(context=context, type=kind, span=span)
                return tree.SetLocal(local=tree.Local("regs", kind, span), value=where, span=span)
            case Arguments.USDT:
                record = usdt.record(context, span)
                return tree.SetLocal(local=tree.Local("spec", record.type, span), value=record, span=span)
            case _:
                return None

    def _found(self, span: Span) -> tree.GetLocal:
        assert self.before is not None
        return tree.GetLocal(local=self.before.local, type=self.before.local.type, span=span)

    def _syscall(self, parameter: _Parameter, number: int) -> tuple[VariableType, tree.Expr]:
        span = parameter.span
        self._declared(parameter, number)
        self._check_order(parameter, number)
        value = tree.SyscallArgument(registers=self._found(span), index=number, type=U64, span=span)
        return self._typed(parameter, value, None, Trust.PROBED)

    def _check_order(self, parameter: _Parameter, number: int) -> None:
        """Of arguments that are not in the same order everywhere the program must say which one it means."""
        orders = ORDERS.get(self.decl.target, {})
        if len({names[number] for names in orders.values()}) < 2:
            return
        here = orders[self.header.session.target.arch]
        if parameter.name not in here:
            raise self._refuse(
                parameter,
                f"argument {number + 1} of `{self.decl.target}` is another one on other architectures",
                help=f"name it as the kernel does, here `{here[number]}`",
            )

    def _usdt(self, parameter: _Parameter, number: int) -> tuple[VariableType, tree.Expr]:
        span = parameter.span
        context = tree.GetLocal(local=self.local, type=self.local.type, span=span)
        record = self._found(span)
        value = tree.UsdtArgument(context=context, record=record, index=number, type=U64, span=span)
        return self._typed(parameter, value, None, Trust.PROBED)

    def _slot(self, parameter: _Parameter) -> tuple[VariableType, tree.Expr]:
        row = self.of.field("args")
        assert row is not None
        known = self.signature
        if parameter.name == _RESULT and self.decl.kind.arguments is Arguments.BTF_RESULT:
            assert known is not None
            if known.result is None:
                raise self._refuse(parameter, f"`{self.decl.target}` returns nothing")
            value = self._field(row, len(known.params), U64, parameter.span)
            return self._typed(parameter, value, known.result, Trust.TRACKED)
        number = self._next(parameter, row.length or 0)
        declared = self._declared(parameter, number)
        by_btf = self.decl.kind.arguments is not Arguments.SLOTS
        if by_btf and isinstance(btf.skip_modifiers(declared), btf.Struct | btf.Union):
            raise self._refuse(parameter, f"`{parameter.name}` is a struct that is passed by value")
        trust = Trust.TRACKED if by_btf else Trust.PROBED
        return self._typed(parameter, self._field(row, number, U64, parameter.span), declared, trust)

    def _typed(
        self, parameter: _Parameter, value: tree.Expr, declared: btf.Type | None, trust: Trust
    ) -> tuple[VariableType, tree.Expr]:
        """A value of eight bytes as what the annotation, or the target's own declaration, says it is."""
        stated = parameter.annotation
        inner = btf.skip_modifiers(declared)
        # Of a register nobody knows the sign; arguments of USDT probes come with theirs.
        unsigned = declared is None and self.decl.kind.arguments is not Arguments.USDT
        by_declaration: Type = U64 if unsigned else I64
        layout = integer_layout(inner)
        if isinstance(inner, btf.Ptr):
            by_declaration = pointer_to(inner, trust)
        elif layout is not None:
            by_declaration = conversions.scalar_type(layout)
        if stated is None or stated.type is None:
            layout = layout if stated is None or stated.layout is None else stated.layout
            return self._as(parameter, value, by_declaration, layout)
        wanted = stated.type
        tracked = isinstance(by_declaration, Kernel) and by_declaration.trust is Trust.TRACKED
        if tracked:
            value = self._tracked(value, by_declaration, wanted)
            if isinstance(wanted, Bool):
                return BOOL, value
        match wanted:
            case Int():
                if layout is not None and layout.bits < 64:
                    # Of a register that holds an `int` the upper half says nothing.
                    value = conversions.wrap(value, layout, parameter.span)
                return self._as(parameter, value, wanted, stated.layout)
            case Bool():
                if self.decl.kind.arguments is not Arguments.USDT and not isinstance(inner, btf.Ptr):
                    # C's `bool` is one byte, and the rest of the register says nothing.
                    value = conversions.wrap(value, layout or U8, parameter.span)
                return BOOL, tree.Truth(operand=value, span=parameter.span)
            case Kernel():
                if declared is not None and not _fits(by_declaration, wanted):
                    raise self._refuse(
                        parameter,
                        f"this argument of `{self.decl.target}` is `{btf.describe(declared)}`, the annotation says "
                        f"`{describe(wanted)}`",
                    )
                kind = by_declaration if tracked else wanted
                return self._as(parameter, value, kind, None)
            case User():
                return self._as(parameter, value, wanted, None)
            case _:
                raise self._refuse(parameter, f"an argument cannot be {describe(wanted)}")

    def _tracked(self, value: tree.Expr, kind: Type, wanted: VariableType) -> tree.Expr:
        """A pointer that the verifier tracks, which is not a number to it, as what an annotation wants."""
        if isinstance(wanted, Kernel):
            return value
        assert isinstance(value, tree.ContextField)
        value.type = kind
        if isinstance(wanted, Bool):
            return tree.IsNone(operand=value, negated=True, span=value.span)
        return tree.AddressAs(operand=value, type=U64, span=value.span)

    def _as(
        self, parameter: _Parameter, value: tree.Expr, kind: Type, layout: IntType | None
    ) -> tuple[VariableType, tree.Expr]:
        match kind:
            case Kernel(trust=Trust.TRACKED):
                assert isinstance(value, tree.ContextField)
                value.type = kind
                return kind, value
            case Kernel() | User():
                return kind, tree.AddressAs(operand=value, type=kind, span=parameter.span)
            case Int() if layout is not None and layout.bits < 64:
                wrapped = conversions.wrap(value, layout, parameter.span)
                return conversions.scalar_type(layout), wrapped
            case Int():
                return kind, reinterpret(value, kind.unsigned)
            case _:
                return kind, value

    # ------------------------------------------------------------ refusals

    def _refuse(
        self, parameter: _Parameter, message: str, notes: Sequence[str] = (), help: Sequence[str] | str = ()
    ) -> Exception:
        return self.header.refusal(Code.E1204, parameter.span, message, notes=notes, help=help)

    def _no_arguments(self, parameter: _Parameter) -> Exception:
        return self._refuse(
            parameter,
            f"a program of type {self.decl.kind.name} gets what its target returned, in a parameter `retval`",
            notes=["the arguments are gone by then: their registers hold other things"],
            help="use `fexit`, which has both, or remember the arguments in a map when the function is entered",
        )


def _fits(declared: Type, wanted: Kernel) -> bool:
    """Whether an annotation says what the target's declaration says, or gives a type to an address of anything."""
    if not isinstance(declared, Kernel):
        return isinstance(declared, Int)
    return (
        declared.of is None
        or declared.of is wanted.of
        or btf.name_of(declared.of) == btf.essential_name(btf.name_of(wanted.of))
    )


def _count(number: int, word: str) -> str:
    return f"{number} {word}{'' if number == 1 else 's'}"


def prologue(entry: Entry, header: Context, locals_: Sequence[tree.Local]) -> list[tree.Stmt]:
    """Sets the parameters that the function uses."""
    used = set(_names(header.scope.node))
    set_up: list[tree.Stmt] = [
        tree.SetLocal(local=local, value=value, span=value.span)
        for local, value in zip(locals_, entry.values, strict=True)
        if local.name in used
    ]
    if entry.before is not None and any(
        local.name in used and not isinstance(local.type, ContextPtr) for local in locals_
    ):
        set_up.insert(0, entry.before)
    return set_up


def _names(node: Any) -> Iterator[str]:
    """The names that the body reads or writes."""
    work = list(node.body)
    while work:
        current = work.pop()
        name = getattr(current, "name", None)
        if isinstance(name, str):
            yield name
        work.extend(current.get_children())
