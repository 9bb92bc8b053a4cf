"""Whether there is what a program is to be attached to, and why the kernel refused it if there is.

What surely fails is refused before the kernel is asked; the rest is explained after it has refused.
"""

from __future__ import annotations

import errno

from pyebpf.diagnostics import PyebpfError
from pyebpf.hints import TYPE_CHECKING
from pyebpf.near_names import near
from pyebpf.runtime.attrs import ProgInfo
from pyebpf.runtime.errors import ENOTSUPP, BpfError, ObjectError, Problem, TargetError
from pyebpf.runtime.info import ask
from pyebpf.runtime.kernel_names import RAW_TRACEPOINT, btf_functions, is_function, targets
from pyebpf.runtime.kernel_symbols import forbidden_functions, kernel_symbols, traceable_functions
from pyebpf.runtime.program import LoadedProgram
from pyebpf.runtime.syscall_wrapper import syscall_function
from pyebpf.uapi.target_rules import MULTIPLEXED

if TYPE_CHECKING:
    from typing import Final


_MOST: Final = 4


def expect_kernel_function(function: str, subject: str, offset: int = 0) -> None:
    """As ``check_kernel_function``, but without the kernel's symbols, which take a quarter of a second to read, where its
    types have the name: the kernel knows the rest, and ``explain_kprobe`` what it means."""
    if offset or not is_function(function):
        check_kernel_function(function, subject, offset)


def check_kernel_function(function: str, subject: str, offset: int = 0, *, probe: bool = True) -> None:
    """Raise ``TargetError`` if there is no such function: unknown, a variable, inlined away; if ``offset`` is outside; and
    for a ``probe``, if it is forbidden there."""
    if not function or function.split() != [function]:
        raise TargetError(Problem.UNKNOWN, subject, detail=f"{function!r} is no name of a function")
    try:
        symbols = kernel_symbols()
    except BpfError:
        return
    found = symbols.find(function)
    name = function.rpartition(":")[2]
    if found and not found[0].code:
        raise TargetError(
            Problem.NOT_A_FUNCTION,
            subject,
            detail=f"{name!r} is a variable of the kernel",
            suggestions=near(name, symbols.functions()),
            errno=errno.EINVAL,
        )
    if not found:
        raise _missing(function, name, subject)
    if probe and name in forbidden_functions():
        raise TargetError(
            Problem.BLACKLISTED,
            subject,
            detail=f"the kernel forbids probes in {name!r}, which probing itself uses (debugfs: kprobes/blacklist)",
            errno=errno.EINVAL,
        )
    places = {s.address for s in found if s.code}
    if offset and len(places) == 1 and not symbols.hidden:
        start = places.pop()
        at = symbols.at(start + offset)
        # The kernel would put the probe into whatever function is there.
        if at is None or at[0].address != start:
            raise _bad_offset(name, offset, subject, errno.EINVAL)


def check_syscall(name: str) -> None:
    """Raise ``TargetError`` with near names if there is no system call ``name``."""
    subject = f"to system call {name!r}"
    if name in MULTIPLEXED:
        detail = f"32-bit processes use it for {MULTIPLEXED[name]}, which programs on system calls do not see"
        raise TargetError(Problem.UNKNOWN, subject, detail=detail)
    function = syscall_function(name)
    if is_function(function):
        return
    try:
        symbols = kernel_symbols()
    except BpfError:
        return
    # Types leave functions without parameters out.
    if symbols.find(function):
        return
    prefix = function.removesuffix(name)
    functions = {*_typed_functions(), *symbols.functions()}
    known = sorted(other.removeprefix(prefix) for other in functions if other.startswith(prefix))
    detail = "this kernel has no such system call"
    raise TargetError(Problem.UNKNOWN, subject, detail=detail, suggestions=near(name, known))


def _missing(function: str, name: str, subject: str) -> TargetError:
    symbols = kernel_symbols()
    others = symbols.find(name)
    if others:
        module = function.rpartition(":")[0]
        detail = f"the function is not in module {module!r}"
        names = tuple(f"{s.module}:{name}" if s.module else name for s in others[:_MOST])
        return TargetError(Problem.UNKNOWN, subject, detail=detail, suggestions=names)
    variants = tuple(sorted(symbols.variants(name)))
    if variants:
        detail = f"the compiler made other functions out of {name!r}, with other arguments maybe"
        return TargetError(Problem.INLINED, subject, detail=detail, suggestions=variants[:_MOST])
    if name in _typed_functions():
        detail = (
            f"the kernel knows {name!r} but has no function of that name that stands by itself: it is inlined into its "
            "callers, or in a module that is not loaded"
        )
        return TargetError(
            Problem.INLINED, subject, detail=detail, suggestions=near(name, symbols.functions())
        )
    detail = (
        "this kernel has no such function (it may be inlined everywhere, or in a module that is not loaded)"
    )
    return TargetError(Problem.UNKNOWN, subject, detail=detail, suggestions=near(name, symbols.functions()))


def explain_kprobe(refused: BpfError, function: str | int, offset: int, subject: str) -> BpfError:
    """What is wrong with a function that takes no kprobe; ``refused`` itself where nobody knows. Raises what
    ``check_kernel_function`` raises."""
    if refused.errno not in (errno.ENOENT, errno.EINVAL, errno.EADDRNOTAVAIL, errno.EILSEQ, errno.ERANGE):
        return refused
    code = refused.errno or errno.EINVAL
    if isinstance(function, int):
        detail = f"at {function:#x} is no instruction of the kernel where a probe may be"
        return TargetError(Problem.BAD_OFFSET, subject, detail=detail, errno=code)
    name = function.rpartition(":")[2]
    check_kernel_function(function, subject, offset)
    try:
        found = kernel_symbols().find(function)
    except BpfError:
        found = []
    places = {s.address for s in found if s.code}
    if len(places) > 1:
        addresses = ", ".join(f"{place:#x}" for place in sorted(places)[:_MOST])
        detail = f"{len(places)} functions of the kernel are called {name!r}, at {addresses}; give the address instead"
        return TargetError(Problem.AMBIGUOUS, subject, detail=detail, errno=code)
    if offset:
        return _bad_offset(name, offset, subject, code)
    traceable = traceable_functions()
    if traceable is not None and name not in traceable:
        detail = f"{name!r} is not in available_filter_functions: it is marked notrace, and this kernel probes no such"
        return TargetError(Problem.NOTRACE, subject, detail=detail, errno=code)
    refused.detail = f"the kernel puts no probe into {name!r}"
    return refused


def _bad_offset(name: str, offset: int, subject: str, code: int) -> TargetError:
    detail = f"{offset:#x} is outside {name!r}, or inside an instruction of it"
    return TargetError(Problem.BAD_OFFSET, subject, detail=detail, errno=code)


def expect_raw_tracepoint(name: str, subject: str) -> None:
    """Raise ``TargetError`` if there is surely no such raw tracepoint."""
    known = raw_tracepoints()
    if known is not None and name not in known:
        raise TargetError(
            Problem.UNKNOWN,
            subject,
            detail=f"this kernel has no raw tracepoint {name!r}",
            suggestions=near(name, known),
        )


_NO_TRAMPOLINE: Final = (errno.EBUSY, errno.EINVAL, errno.ENODEV, errno.EOPNOTSUPP, ENOTSUPP)


def explain_trampoline(refused: BpfError, program: LoadedProgram, subject: str) -> BpfError:
    """What is wrong with a function that takes no fentry, fexit or fmod_ret program, which kernels say in various ways;
    ``refused`` itself where nobody knows."""
    from pyebpf.runtime.kernel_modules import type_name

    traceable = traceable_functions()
    if traceable is None or refused.errno not in _NO_TRAMPOLINE:
        return refused
    try:
        loaded = ask(program.handle, ProgInfo())
        name = type_name(loaded.attach_btf_obj_id, loaded.attach_btf_id).rpartition(":")[2]
    except PyebpfError:  # before Linux 6.0 nothing tells what the program was loaded for
        return refused
    if name in traceable:
        return refused
    detail = f"{name!r} is not in available_filter_functions: it is marked notrace, so there is no place for a trampoline"
    return TargetError(Problem.NOTRACE, subject, detail=detail, errno=refused.errno)


def raw_tracepoints() -> dict[str, int] | None:
    """The raw tracepoints of the kernel itself with their BTF ids; ``None`` if it has no type information."""
    try:
        return targets(RAW_TRACEPOINT)
    except ObjectError:
        return None


def _typed_functions() -> dict[str, int]:
    try:
        return btf_functions()
    except ObjectError:
        return {}
