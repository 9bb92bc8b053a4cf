"""What tracing programs are attached to: whether the target lets them, and what its type information tells of prototypes and
events."""

from __future__ import annotations

from collections.abc import Iterable

from pyebpf import btf
from pyebpf.codes import Code
from pyebpf.declare import ProgramDecl
from pyebpf.frontend.kernel_types import specification
from pyebpf.frontend.session import Context, Refused
from pyebpf.frontend.suggest import near
from pyebpf.records import dataclass
from pyebpf.uapi.constants import AttachType
from pyebpf.uapi.contexts import TRACEPOINT
from pyebpf.uapi.contexts import Context as ContextRow
from pyebpf.uapi.program_kind import Arguments, TargetKind
from pyebpf.uapi.target_rules import MULTIPLEXED, ORDERS

_CHANGEABLE = ("security_", "__x64_sys_", "__arm64_sys_")


@dataclass(frozen=True, slots=True)
class Signature:
    """The arguments and the result of a target (``None``: nothing is returned). ``result_only``: the arguments are not
    known."""

    params: tuple[btf.Param, ...]
    result: btf.Type | None
    result_only: bool = False


def check_target(header: Context, decl: ProgramDecl) -> None:
    """The kernel must know programs of this kind, and let them be where they want to be."""
    span, kind, kernel = header.instance.function.span, decl.kind, header.session.target.kernel
    if kind.since > kernel:
        raise header.refusal(
            Code.E0803,
            span,
            f"programs of type {kind.name} exist since Linux {kind.since[0]}.{kind.since[1]}, "
            f"the target is {kernel[0]}.{kernel[1]}",
        )
    if (
        kind.attach_type is AttachType.MODIFY_RETURN
        and decl.target
        and not decl.target.startswith(_CHANGEABLE)
    ):
        raise header.refusal(
            Code.E1205,
            span,
            f"the result of `{decl.target}` may not be changed",
            notes=["programs may change what `security_…` functions and system calls return, no others"],
            help="use `fexit` to look at the result",
        )

    multiplexed = MULTIPLEXED.get(decl.target) if decl.kind.target is TargetKind.SYSCALL else None
    if multiplexed is not None:
        raise header.refusal(
            Code.E1205,
            span,
            f"`{decl.target}` is no system call of {header.session.target.arch.value}",
            notes=[f"32-bit processes use it for {multiplexed}, which programs on system calls do not see"],
            help="name the calls themselves, such as `connect` or `semop`",
        )


def signature_of(header: Context, decl: ProgramDecl) -> Signature | None:
    """What the target is called with; ``None`` where nobody can tell.

    Refuses targets that the types do not have, for kinds that the kernel attaches by type.
    """
    needed = decl.kind.arguments in (Arguments.BTF, Arguments.BTF_RESULT)
    if decl.kind.target is TargetKind.SYSCALL:
        return _of_syscall(header, decl.target)
    if not decl.target:
        if needed:
            raise _refuse(
                header,
                decl,
                f"a program of type {decl.kind.name} has to name its target",
                help=f'write `@bpf.{decl.kind.name}("…")`',
            )
        return None
    spec = specification(header, header.instance.function.span) if needed else header.session.kernel_types()
    if spec is None:
        return None
    match decl.kind.target:
        case TargetKind.FUNCTION:
            return _of_function(header, decl, spec, decl.target.partition("+")[0], needed=needed)
        case TargetKind.RAW_TRACEPOINT:
            return _of_raw_tracepoint(header, decl, spec, needed=needed)
        case TargetKind.LSM_HOOK:
            return _of_function(header, decl, spec, f"bpf_lsm_{decl.target}", needed=True)
        case TargetKind.ITERATOR:
            return _of_function(header, decl, spec, f"bpf_iter_{decl.target}", needed=True)
        case _:
            return None


def _of_syscall(header: Context, name: str) -> Signature | None:
    """The names of a system call's arguments, in the order of the target; their types nobody tells."""
    names: tuple[str, ...] | None = None
    if name in ORDERS:
        names = ORDERS[name][header.session.target.arch]
    elif header.session.facts is not None:
        found = header.session.facts.tracepoint("syscalls", f"sys_enter_{name}")
        if found is not None:
            # The number of the call, and what newer kernels copy from behind pointers, are not arguments.
            names = tuple(field.name for field in found.fields if not field.name.startswith("__"))
    return None if names is None else Signature(tuple(btf.Param(n, None) for n in names), None)


def _of_function(
    header: Context, decl: ProgramDecl, spec: btf.Spec, name: str, *, needed: bool
) -> Signature | None:
    found = spec.find(name, btf.Kind.FUNC)
    if not isinstance(found, btf.Func):
        if not needed:
            return None
        prefix = name[: len(name) - len(decl.target.partition("+")[0])]
        raise _unknown(header, decl, _without(prefix, spec.names(btf.Kind.FUNC)))
    return Signature(found.proto.params, found.proto.result)


def _without(prefix: str, names: Iterable[str]) -> Iterable[str]:
    return (name[len(prefix) :] for name in names if name.startswith(prefix))


def _of_raw_tracepoint(
    header: Context, decl: ProgramDecl, spec: btf.Spec, *, needed: bool
) -> Signature | None:
    """The prototype of the function that calls the programs; the first parameter is for the kernel itself."""
    typedef = spec.find(f"btf_trace_{decl.target}", btf.Kind.TYPEDEF)
    if typedef is None:
        if not needed:
            return None
        raise _unknown(header, decl, _without("btf_trace_", spec.names(btf.Kind.TYPEDEF)))
    for name in (f"__traceiter_{decl.target}", f"__bpf_trace_{decl.target}"):
        found = spec.find(name, btf.Kind.FUNC)
        if isinstance(found, btf.Func):
            return Signature(found.proto.params[1:], None)
    pointer = btf.skip_modifiers(typedef)
    proto = btf.skip_modifiers(pointer.target) if isinstance(pointer, btf.Ptr) else None
    return Signature(proto.params[1:], None) if isinstance(proto, btf.FuncProto) else None


def tracepoint_context(header: Context, decl: ProgramDecl) -> ContextRow:
    """The fields of the event that the program names."""
    if not decl.target:
        return TRACEPOINT
    category, _, name = decl.target.partition("/")
    facts = header.session.facts
    found = None if facts is None else facts.tracepoint(category, name)
    if found is not None:
        return found
    known = [] if facts is None else facts.tracepoints()
    if decl.target in known or not known:
        return TRACEPOINT
    raise _unknown(header, decl, known)


def _unknown(header: Context, decl: ProgramDecl, known: Iterable[str]) -> Refused:
    return _refuse(
        header,
        decl,
        f"the target's kernel has no {_WORDS[decl.kind.target]} `{decl.target}`",
        help=near(decl.target, known),
    )


_WORDS = {
    TargetKind.FUNCTION: "function",
    TargetKind.RAW_TRACEPOINT: "tracepoint",
    TargetKind.TRACEPOINT: "tracepoint",
    TargetKind.LSM_HOOK: "security hook",
    TargetKind.ITERATOR: "iterator",
}


def _refuse(header: Context, decl: ProgramDecl, message: str, *, help: tuple[str, ...] | str = ()) -> Refused:
    return header.refusal(Code.E1205, header.instance.function.span, message, help=help)
