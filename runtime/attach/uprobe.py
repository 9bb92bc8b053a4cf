"""uprobes and uretprobes: programs at any instruction of executables and libraries, and where functions return."""

from __future__ import annotations

import ctypes
import errno
import os

from pyebpf.hints import TYPE_CHECKING
from pyebpf.records import dataclass
from pyebpf.runtime.attach.kprobe import probe_pmu
from pyebpf.runtime.attach.link import Link
from pyebpf.runtime.attach.perf_open import PerfMethod, attach_to_event
from pyebpf.runtime.attach.probe_events import UPROBE_EVENTS, has_probe_events, open_probe_event
from pyebpf.runtime.attrs import address
from pyebpf.runtime.attrs_tracing import PerfEventAttr
from pyebpf.runtime.binaries import find_binary, mappings
from pyebpf.runtime.elf_symbols import Binary, ElfSymbol, open_binary
from pyebpf.runtime.errors import (
    ENOTSUPP,
    BpfError,
    NotSupported,
    PermissionDenied,
    Phase,
    Problem,
    TargetError,
)
from pyebpf.runtime.perf_open import ANY_CPU, ANY_PROCESS, perf_event_open
from pyebpf.runtime.program import LoadedProgram, require_program
from pyebpf.uapi.constants import ProgType

if TYPE_CHECKING:
    from typing import Final


_OUTSIDE: Final = "there is no code at {offset:#x} in the file"


@dataclass(frozen=True, slots=True)
class CodePlace:
    """A place in a file, in bytes from its start. ``name`` is for people."""

    path: str
    offset: int
    name: str


def attach_uprobe(
    program: LoadedProgram,
    binary: str | os.PathLike[str],
    symbol: str | None = None,
    *,
    offset: int = 0,
    pid: int | None = None,
    returns: bool = False,
    ref_ctr_offset: int = 0,
    cookie: int = 0,
    method: PerfMethod | None = None,
) -> Link:
    """Run ``program`` whenever a process reaches a place in ``binary``, or, with ``returns``, leaves a function of it.

    Args:
        binary: a path, or the name of a library (``libc``, ``libssl.so.3``) or an executable (``bash``).
        symbol: a function, ``name@VERSION`` for one of several versions.
        offset: bytes from the start of the function, or of the file if there is no ``symbol``.
        pid: only in this process; 0 is this one.
        ref_ctr_offset: where in the file a counter is that the kernel raises while the program is attached.
        cookie: what ``bpf_get_attach_cookie`` gives in the program.
        method: the first of a bpf_link, an ioctl and tracefs that this kernel has, unless chosen.

    Raises:
        TargetError: there is no such file or function; with near names.
        NotSupported: this kernel has no uprobes, or no cookies for them.
        BpfError: the file is no ELF file, there is no such process, or the kernel refused something else.
        TypeError: the program is of another type.
    """
    place = locate(binary, symbol, offset, pid, returns=returns)
    return attach_at(
        program, place, pid=pid, returns=returns, ref_ctr_offset=ref_ctr_offset, cookie=cookie, method=method
    )


def locate(
    binary: str | os.PathLike[str],
    symbol: str | None,
    offset: int = 0,
    pid: int | None = None,
    *,
    returns: bool = False,
) -> CodePlace:
    """The place that the arguments of ``attach_uprobe`` mean. Raises what it raises."""
    if returns and symbol is not None and offset:
        raise ValueError(f"a function returns as a whole: there is no offset {offset:#x} for that")
    if offset < 0:
        raise ValueError(f"an offset is not negative: {offset}")
    path = find_binary(binary, pid)
    opened = open_binary(path)
    if symbol is None:
        if opened.address(offset) is None:
            raise _outside(path, offset)
        return CodePlace(path, offset, f"{path}:{offset:#x}")
    found = opened.find(symbol)
    start = _chosen(opened, found) if found.chooser else opened.file_offset(found.address)
    # An offset outside the function is a mistake: it would hit the middle of an instruction of another one.
    if start is None or (found.size and offset >= found.size and not found.chooser):
        raise _outside(path, offset, symbol)
    return CodePlace(
        path, start + offset, f"{symbol}+{offset:#x} of {path}" if offset else f"{symbol} of {path}"
    )


def _outside(path: str, offset: int, symbol: str = "") -> TargetError:
    what = f"{symbol!r} of {path!r}" if symbol else repr(path)
    detail = f"{offset:#x} is outside the function" if symbol else _OUTSIDE.format(offset=offset)
    return TargetError(Problem.BAD_OFFSET, f"to {what}", detail=detail, errno=errno.EINVAL)


def _chosen(binary: Binary, symbol: ElfSymbol) -> int:
    """Where the implementation is that an IFUNC stands for. The choice depends on the processor only, so the one that
    this process has made tells, if it has the file loaded."""
    name = f"{symbol.name}@{symbol.version}" if symbol.version else symbol.name
    subject = f"to {name!r} of {binary.path!r}"
    own = [m for m in mappings(os.getpid()) if m.path.startswith("/") and _same(m.path, binary.path)]
    if own and symbol.default:
        try:
            library = ctypes.CDLL(own[0].path, mode=os.RTLD_NOW | os.RTLD_NOLOAD)
            address = ctypes.cast(getattr(library, symbol.name), ctypes.c_void_p).value or 0
        except (OSError, AttributeError):
            address = 0
        for mapping in own:
            if mapping.start <= address < mapping.end:
                return address - mapping.start + mapping.offset
    raise TargetError(
        Problem.CHOSEN_AT_RUN_TIME,
        subject,
        detail="the symbol only chooses among implementations (IFUNC) when a program starts, and this process has not "
        "loaded the file, so the choice is not known; give the file offset of an implementation",
        errno=errno.EINVAL,
    )


def _same(path: str, other: str) -> bool:
    try:
        return os.path.samefile(path, other)
    except OSError:
        return False


def attach_at(
    program: LoadedProgram,
    place: CodePlace,
    *,
    pid: int | None,
    returns: bool = False,
    ref_ctr_offset: int = 0,
    cookie: int = 0,
    method: PerfMethod | None = None,
) -> Link:
    """Attach to a place that is known to be there; the arguments are those of ``attach_uprobe``."""
    require_program(program, "a uprobe", ProgType.KPROBE)
    subject = f"to {'the return of ' if returns else ''}{place.name}"
    pmu = probe_pmu("uprobe")
    if pmu is None and not has_probe_events(UPROBE_EVENTS):
        detail = "this kernel has no uprobes (it was built without CONFIG_UPROBE_EVENTS)"
        raise NotSupported(errno.EOPNOTSUPP, Phase.ATTACH, subject, detail=detail)
    process, cleanup = ANY_PROCESS if pid is None else pid, None
    try:
        if pmu is None or method is PerfMethod.TRACEFS:
            counter = f"({ref_ctr_offset:#x})" if ref_ctr_offset else ""
            where = f"{os.path.abspath(place.path)}:{place.offset:#x}{counter}"
            event, cleanup = open_probe_event(UPROBE_EVENTS, where, subject, returns=returns, pid=process)
        else:
            path = os.fsencode(os.path.abspath(place.path))
            attr = PerfEventAttr(type=pmu.type, config1=address(path), config2=place.offset)
            attr.config = int(returns) << pmu.return_bit | ref_ctr_offset << pmu.ref_ctr_shift
            event = perf_event_open(attr, pid=process, cpu=0 if pid is None else ANY_CPU, subject=subject)
    except BpfError as refused:
        raise _explained(refused, place, subject) from None
    return attach_to_event(program, event, subject, cookie=cookie, method=method, cleanup=cleanup)


def _explained(refused: BpfError, place: CodePlace, subject: str) -> BpfError:
    if isinstance(refused, PermissionDenied):
        # Since 2025, in releases of stable kernels as well: a probe inside an instruction does damage.
        refused.detail += "; newer kernels ask for CAP_SYS_ADMIN to make uprobes"
    if refused.errno in (errno.EINVAL, errno.ENOTSUP, ENOTSUPP, errno.EILSEQ) and not refused.detail:
        detail = f"at {place.offset:#x} of the file is no instruction that the kernel can put a probe on"
        return TargetError(Problem.BAD_OFFSET, subject, detail=detail, errno=refused.errno or errno.EINVAL)
    return refused
