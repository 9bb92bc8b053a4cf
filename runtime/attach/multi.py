"""Many functions with one link: kprobe.multi and kprobe.session on the kernel's, uprobe.multi and uprobe.session on
those of a file."""

from __future__ import annotations

import ctypes
import errno
import fnmatch
import os
import re
from collections.abc import Iterable, Mapping

from pyebpf.hints import TYPE_CHECKING
from pyebpf.near_names import near
from pyebpf.records import dataclass
from pyebpf.runtime.attach.link import HeldLink
from pyebpf.runtime.attach.perf_open import TRACING_NEED
from pyebpf.runtime.attach.targets import check_kernel_function
from pyebpf.runtime.attach.uprobe import CodePlace, locate
from pyebpf.runtime.attrs import Attr, address
from pyebpf.runtime.attrs_tracing import LinkCreateKprobes, LinkCreateUprobes
from pyebpf.runtime.binaries import find_binary
from pyebpf.runtime.elf_symbols import open_binary
from pyebpf.runtime.errors import ENOTSUPP, BpfError, NotSupported, Phase, Problem, TargetError
from pyebpf.runtime.fd import Fd
from pyebpf.runtime.kernel_symbols import (
    forbidden_functions,
    hidden_symbols,
    kernel_symbols,
    traceable_functions,
)
from pyebpf.runtime.program import LoadedProgram, require_program
from pyebpf.runtime.syscall import bpf_fd, call
from pyebpf.uapi.constants import AttachType, BpfCmd, ProgType

if TYPE_CHECKING:
    from typing import Final


Targets = str | Iterable[str] | Mapping[str, int]
"""Names or patterns (``tcp_*``): one, several, or with a cookie for each."""

_RETURN: Final = 1
_PATTERN: Final = re.compile(r"[*?\[]")


@dataclass(frozen=True, slots=True)
class MultiKind:
    """A kind of link: its name in sections, and the first kernel that has it."""

    name: str
    since: str


_KINDS: Final = {
    AttachType.TRACE_KPROBE_MULTI: MultiKind("kprobe.multi", "Linux 5.18 with CONFIG_FPROBE"),
    AttachType.TRACE_KPROBE_SESSION: MultiKind("kprobe.session", "Linux 6.10 with CONFIG_FPROBE"),
    AttachType.TRACE_UPROBE_MULTI: MultiKind("uprobe.multi", "Linux 6.6"),
    AttachType.TRACE_UPROBE_SESSION: MultiKind("uprobe.session", "Linux 6.13"),
}


def attach_kprobe_multi(program: LoadedProgram, functions: Targets, *, returns: bool = False) -> HeldLink:
    """Run ``program`` whenever the kernel enters one of ``functions``, or, with ``returns``, leaves it.

    A program for sessions (``kprobe.session``) runs at both, the second time only if it returned 0 the first time.
    ``functions``: names, patterns, or both, ``module:…`` for those of a module; in a mapping with the cookie of each, which
    ``bpf_get_attach_cookie`` gives.

    Raises ``TargetError`` if nothing matches, with near names; ``NotSupported`` for kernels without it, naming the
    first that has it; ``BpfError``; ``TypeError`` for a program of another type.
    """
    return attach_functions(program, expand_functions(functions), returns=returns)


def attach_functions(program: LoadedProgram, chosen: Mapping[str, int], *, returns: bool = False) -> HeldLink:
    """The same for functions that ``expand_functions`` has found."""
    types = (AttachType.TRACE_KPROBE_MULTI, AttachType.TRACE_KPROBE_SESSION)
    require_program(program, "a link to many functions", ProgType.KPROBE, attach_types=types)
    subject = f"to {_counted(chosen)} of the kernel"
    _check_session(program, returns)
    # The kernel knows no names with a module.
    places = addresses(chosen) if any(":" in name for name in chosen) else {}
    values = list((places or chosen).values())
    names = (ctypes.c_char_p * len(values))(*(name.encode() for name in chosen if not places))
    starts = (ctypes.c_uint64 * len(values))(*places)
    cookies = (ctypes.c_uint64 * len(values))(*values)
    attr = LinkCreateKprobes(
        program.fd,
        0,
        program.attach_type,
        multi_flags=_RETURN if returns else 0,
        cnt=len(values),
        syms=0 if places else ctypes.addressof(names),
        addrs=ctypes.addressof(starts) if places else 0,
        cookies=ctypes.addressof(cookies) if any(values) else 0,
    )
    return HeldLink(_create(program, attr, subject), program, subject)


def attach_uprobe_multi(
    program: LoadedProgram,
    binary: str | os.PathLike[str],
    symbols: Targets,
    *,
    pid: int | None = None,
    returns: bool = False,
) -> HeldLink:
    """Run ``program`` whenever a process enters one of the functions ``symbols`` of ``binary``, or, with ``returns``,
    leaves it.

    The arguments are those of ``attach_uprobe`` and ``attach_kprobe_multi``, and so is what is raised.
    """
    path = find_binary(binary, pid)
    places, cookies = expand_symbols(path, symbols, pid)
    return attach_places(program, path, places, cookies, pid=pid, returns=returns)


def attach_places(
    program: LoadedProgram,
    path: str,
    places: list[CodePlace],
    cookies: list[int],
    *,
    counters: list[int] | None = None,
    pid: int | None = None,
    returns: bool = False,
) -> HeldLink:
    """One link to many places of the file ``path``. ``counters``: offsets of the counters that the kernel raises."""
    types = (AttachType.TRACE_UPROBE_MULTI, AttachType.TRACE_UPROBE_SESSION)
    require_program(program, "a link to many functions", ProgType.KPROBE, attach_types=types)
    _check_session(program, returns)
    subject = f"to {len(places)} places of {path}"
    count = len(places)
    text = os.fsencode(os.path.abspath(path))
    offsets = (ctypes.c_ulong * count)(*(place.offset for place in places))
    references = (ctypes.c_ulong * count)(*(counters or ()))
    values = (ctypes.c_uint64 * count)(*cookies)
    attr = LinkCreateUprobes(
        program.fd,
        0,
        program.attach_type,
        path=address(text),
        offsets=ctypes.addressof(offsets),
        ref_ctr_offsets=ctypes.addressof(references) if any(counters or ()) else 0,
        cookies=ctypes.addressof(values) if any(cookies) else 0,
        cnt=count,
        multi_flags=_RETURN if returns else 0,
        # 0 stands for all processes here.
        pid=0 if pid is None else pid or os.getpid(),
    )
    try:
        return HeldLink(_create(program, attr, subject), program, subject)
    except BpfError as refused:
        if refused.errno == errno.ESRCH and pid is not None:
            refused.detail = f"there is no process {pid}"
        raise


def kind_of(attach_type: AttachType) -> MultiKind:
    """The kind of link that programs for ``attach_type`` get."""
    return _KINDS[attach_type]


def _check_session(program: LoadedProgram, returns: bool) -> None:
    sessions = (AttachType.TRACE_KPROBE_SESSION, AttachType.TRACE_UPROBE_SESSION)
    if returns and program.attach_type in sessions:
        raise ValueError("a session runs its program at entry and return: leave `returns` out")


def _counted(chosen: Mapping[str, int]) -> str:
    return repr(next(iter(chosen))) if len(chosen) == 1 else f"{len(chosen)} functions"


# ---------------------------------------------------------------- the kernel's answer


def _create(program: LoadedProgram, attr: Attr, subject: str) -> Fd:
    assert program.attach_type is not None
    kind, whole = kind_of(program.attach_type), f"{program.name!r} {subject}"
    try:
        return bpf_fd(BpfCmd.LINK_CREATE, attr, Phase.ATTACH, whole, need=TRACING_NEED)
    except BpfError as refused:
        code = refused.errno or errno.EINVAL
        unknown = code == errno.EINVAL and not knows_links(program.fd, program.attach_type)
        if unknown or code in (errno.EOPNOTSUPP, ENOTSUPP):
            detail = f"this kernel has no {kind.name}, which came with {kind.since}"
            raise NotSupported(code, Phase.ATTACH, whole, detail=detail) from None
        if code == errno.ESRCH and isinstance(attr, LinkCreateKprobes):
            refused.detail = "one of the functions cannot be traced (it is not in available_filter_functions)"
        raise


def knows_links(program_fd: int, attach_type: AttachType) -> bool:
    """Whether the kernel knows links of this kind: then it goes on to look at what the link is for."""
    if attach_type in (AttachType.TRACE_KPROBE_MULTI, AttachType.TRACE_KPROBE_SESSION):
        names = (ctypes.c_char_p * 1)(b"no_such_function_here")
        kprobes = LinkCreateKprobes(program_fd, 0, attach_type, cnt=1, syms=ctypes.addressof(names))
        return call(BpfCmd.LINK_CREATE, kprobes) == -errno.ESRCH
    offsets = (ctypes.c_ulong * 1)(0)
    uprobes = LinkCreateUprobes(
        program_fd, 0, attach_type, path=address(b"/"), offsets=ctypes.addressof(offsets), cnt=1
    )
    return call(BpfCmd.LINK_CREATE, uprobes) == -errno.EBADF


# ---------------------------------------------------------------- names and patterns


def _cookies(targets: Targets) -> dict[str, int]:
    if isinstance(targets, str):
        return {targets: 0}
    if isinstance(targets, Mapping):
        return dict(targets)
    return dict.fromkeys(targets, 0)


def expand_functions(targets: Targets) -> dict[str, int]:
    """Every function of the kernel that ``targets`` means, with its cookie; of several patterns the first counts.

    Raises ``TargetError`` with near names if there is none.
    """
    chosen: dict[str, int] = {}
    for target, cookie in _cookies(targets).items():
        if not _PATTERN.search(target):
            check_kernel_function(target, f"to kernel function {target!r}", probe=False)
            chosen.setdefault(target, cookie)
            continue
        matching = matching_functions(target)
        if not matching:
            raise _no_match(target, "the kernel", _known_functions())
        for name in matching:
            chosen.setdefault(name, cookie)
    if not chosen:
        raise ValueError("no function to attach to was named")
    return chosen


def matching_functions(pattern: str) -> list[str]:
    """The functions of the kernel that match ``pattern`` (``module:…`` those of the module, named so) and can be traced, as
    far as the kernel tells which."""
    traceable = traceable_functions()
    module, colon, names = pattern.rpartition(":")
    if colon:
        own = fnmatch.filter(kernel_symbols().functions_of(module), names)
        return sorted(f"{module}:{name}" for name in own if traceable is None or name in traceable)
    if traceable is None:
        forbidden = forbidden_functions()
        return [n for n in fnmatch.filter(kernel_symbols().functions(), pattern) if n not in forbidden]
    return sorted(fnmatch.filter(traceable, pattern))


def addresses(chosen: Mapping[str, int]) -> dict[int, int]:
    """The addresses of functions that are known to be there, each with its cookie. Raises ``PermissionDenied`` if the
    kernel hides them."""
    symbols = kernel_symbols()
    if symbols.hidden:
        raise hidden_symbols()
    found: dict[int, int] = {}
    for name, cookie in chosen.items():
        for symbol in symbols.find(name)[:1]:
            found.setdefault(symbol.address, cookie)
    return found


def _known_functions() -> list[str]:
    try:
        return kernel_symbols().functions()
    except BpfError:
        return []


def expand_symbols(path: str, targets: Targets, pid: int | None) -> tuple[list[CodePlace], list[int]]:
    """Every place of the file ``path`` that ``targets`` means, and the cookie of each; raises as ``expand_functions``."""
    binary = open_binary(path)
    found: dict[int, tuple[CodePlace, int]] = {}
    for target, cookie in _cookies(targets).items():
        if not _PATTERN.search(target):
            place = locate(path, target, 0, pid)
            found.setdefault(place.offset, (place, cookie))
            continue
        matching = [s for s in binary.symbols if not s.chooser and fnmatch.fnmatchcase(s.name, target)]
        if not matching:
            raise _no_match(target, repr(path), [s.name for s in binary.symbols])
        for symbol in matching:
            offset = binary.file_offset(symbol.address)
            if offset is not None:
                found.setdefault(offset, (CodePlace(path, offset, symbol.name), cookie))
    if not found:
        raise ValueError("no function to attach to was named")
    return [place for place, _ in found.values()], [cookie for _, cookie in found.values()]


def _no_match(pattern: str, where: str, known: Iterable[str]) -> TargetError:
    plain = _PATTERN.split(pattern)[0]
    return TargetError(
        Problem.UNKNOWN,
        f"to {pattern!r}",
        detail=f"no function of {where} matches the pattern",
        suggestions=near(plain, known) if plain else (),
    )
