"""Iterators: programs that the kernel runs for each of its objects when somebody reads, and what they wrote, as files."""

from __future__ import annotations

import ctypes
import errno
import io
import os
from collections.abc import Callable

from pyebpf import enums
from pyebpf.hints import TYPE_CHECKING
from pyebpf.records import dataclass
from pyebpf.runtime.attach.link import BpfLink, HeldLink
from pyebpf.runtime.attach.perf_open import TRACING_NEED
from pyebpf.runtime.attrs import ProgInfo
from pyebpf.runtime.attrs_tracing import IterCgroup, IterCreate, IterInfo, IterTask, LinkCreateIter
from pyebpf.runtime.errors import BpfError, Phase
from pyebpf.runtime.fd import Fd
from pyebpf.runtime.info import ask
from pyebpf.runtime.kernel_names import ITERATOR
from pyebpf.runtime.maps import Map
from pyebpf.runtime.program import LoadedProgram, require_program
from pyebpf.runtime.syscall import bpf_fd, error
from pyebpf.uapi.constants import AttachType, BpfCmd, ProgType

if TYPE_CHECKING:
    from typing import Final


_BUFFER: Final = 1 << 16


class CgroupOrder(enums.IntEnum):
    """Which control groups an iterator visits, from the given one: ``enum bpf_cgroup_iter_order``."""

    SELF = 1
    DESCENDANTS_FIRST_DOWN = 2
    DESCENDANTS_FIRST_UP = 3
    ANCESTORS = 4


@dataclass(frozen=True, slots=True)
class OfMap:
    """The elements of a map (``iter/bpf_map_elem``, ``iter/bpf_sk_storage_map``)."""

    map: Map


@dataclass(frozen=True, slots=True)
class OfProcess:
    """The tasks of one process (``iter/task``, ``iter/task_file``, ``iter/task_vma``), from Linux 6.1."""

    pid: int


@dataclass(frozen=True, slots=True)
class OfThread:
    """One task, from Linux 6.1."""

    tid: int


@dataclass(frozen=True, slots=True)
class OfCgroup:
    """Control groups (``iter/cgroup``), from Linux 6.1. ``path`` is the directory of one."""

    path: str | os.PathLike[str]
    order: CgroupOrder = CgroupOrder.SELF


IterOver = OfMap | OfProcess | OfThread | OfCgroup


class IterLink(HeldLink):
    """An iterator. Every ``open`` starts it anew; so does every reader of a pin (``cat``)."""

    def open(self) -> io.BufferedReader:
        """What the program writes, as a binary file; reading runs the program.

        Raises ``BpfError``. So does reading: E2BIG if the program writes more for one object than the kernel's buffer
        holds (8 pages).
        """
        fd = bpf_fd(
            BpfCmd.ITER_CREATE,
            IterCreate(self.fileno()),
            Phase.ITERATE,
            self.target,
            need=TRACING_NEED,
        )
        return io.BufferedReader(_Output(fd, self.target), _BUFFER)

    def open_text(self, encoding: str = "utf-8", errors: str = "replace") -> io.TextIOWrapper:
        """As ``open``, decoded: a text file, whose lines can be iterated over."""
        return io.TextIOWrapper(self.open(), encoding, errors)

    def read(self) -> bytes:
        """All that the program writes, from the first object to the last. Raises ``BpfError``."""
        with self.open() as opened:
            return opened.read()

    def update(self, program: LoadedProgram) -> None:
        """Put another program for the same iterator in place; files that are open keep the old one."""
        BpfLink.update(self, program)


class _Output(io.RawIOBase):
    """Unbuffered reading that waits where the kernel asks for patience: EAGAIN means that it went past a million
    objects without output."""

    def __init__(self, fd: Fd, subject: str) -> None:
        super().__init__()
        self._fd = fd
        self._subject = subject

    def readable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._fd.fileno()

    def readinto(self, buffer: object, /) -> int:
        view = memoryview(buffer).cast("B")  # type: ignore[arg-type]  # any writable buffer
        while True:
            try:
                # Python repeats a read that a signal interrupts, after its handlers.
                return os.readv(self._fd.fileno(), [view])
            except BlockingIOError:
                continue
            except OSError as found:
                refused = error(found.errno or errno.EIO, Phase.ITERATE, self._subject)
                if found.errno == errno.E2BIG:
                    refused.detail = (
                        "the program writes more for one object than the kernel's buffer holds (8 pages)"
                    )
                raise refused from None

    def close(self) -> None:
        if not self.closed:
            self._fd.close()
        super().close()


def attach_iter(program: LoadedProgram, over: IterOver | None = None) -> IterLink:
    """Make ``program`` readable: ``open`` on the link gives what it writes.

    ``over``: which objects, where the iterator is about those of a map, of a process or of a control group; all
    without. Raises ``BpfError``: EBADF if the iterator needs a map and got none, EINVAL if the map does not fit;
    ``TypeError`` for a program of another type, or for ``over`` that this iterator does not take.
    """
    require_program(program, "an iterator", ProgType.TRACING, attach_types=(AttachType.TRACE_ITER,))
    subject = f"to an iterator{_described(over)}"
    if over is not None:
        _check_kind(program, over)
    info, release = _info(over, subject)
    attr = LinkCreateIter(program.fd, 0, AttachType.TRACE_ITER)
    if over is not None:
        attr.iter_info, attr.iter_info_len = ctypes.addressof(info), ctypes.sizeof(info)
    try:
        handle = bpf_fd(
            BpfCmd.LINK_CREATE, attr, Phase.ATTACH, f"{program.name!r} {subject}", need=TRACING_NEED
        )
    except BpfError as refused:
        raise _explained(refused, over) from None
    finally:
        release()
    return IterLink(handle, program, subject)


_TAKES: Final[dict[str, tuple[type, ...]]] = {
    "bpf_map_elem": (OfMap,),
    "bpf_sk_storage_map": (OfMap,),
    "sockmap": (OfMap,),
    "task": (OfProcess, OfThread),
    "task_file": (OfProcess, OfThread),
    "task_vma": (OfProcess, OfThread),
    "cgroup": (OfCgroup,),
    **dict.fromkeys(
        (
            "bpf_map",
            "bpf_prog",
            "bpf_link",
            "ksym",
            "tcp",
            "udp",
            "unix",
            "netlink",
            "ipv6_route",
            "kmem_cache",
            "dmabuf",
        ),
        (),
    ),
}
"""What the iterators of Linux 6.18 can be limited by. The kernel ignores what an iterator does not take, and would give
more than was asked for."""


def _check_kind(program: LoadedProgram, over: IterOver) -> None:
    """Raise ``TypeError`` if the iterator cannot be limited so."""
    from pyebpf.runtime.kernel_btf import vmlinux

    target = ask(program.handle, ProgInfo()).attach_btf_id
    kernel = vmlinux().type(target) if target else None
    name = getattr(kernel, "name", "").removeprefix(ITERATOR)
    taken = _TAKES.get(name)
    if taken is not None and not isinstance(over, taken):
        what = " or ".join(f"`{kind.__name__}`" for kind in taken) or "nothing: it is about all"
        raise TypeError(f"the iterator {name!r} does not take `{type(over).__name__}`; it takes {what}")


def _described(over: IterOver | None) -> str:
    match over:
        case None:
            return ""
        case OfMap(map=map_):
            return f" of map {map_.name!r}"
        case OfProcess(pid=pid):
            return f" of process {pid}"
        case OfThread(tid=tid):
            return f" of thread {tid}"
        case OfCgroup(path=path):
            return f" of control group {os.fspath(path)!r}"


def _info(over: IterOver | None, subject: str) -> tuple[IterInfo, Callable[[], None]]:
    """What the kernel is told, and what is to be done when it has been."""
    match over:
        case None:
            return IterInfo(), _nothing
        case OfMap(map=map_):
            return IterInfo(map_fd=map_.fd), _nothing
        case OfProcess(pid=pid):
            _check_task(pid, subject)
            return IterInfo(task=IterTask(pid=pid)), _nothing
        case OfThread(tid=tid):
            _check_task(tid, subject)
            return IterInfo(task=IterTask(tid=tid)), _nothing
        case OfCgroup(path=path, order=order):
            try:
                fd = Fd(os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC))
            except OSError as found:
                raise BpfError(found.errno or errno.EIO, Phase.ATTACH, subject) from None
            return IterInfo(cgroup=IterCgroup(order, fd.fileno())), fd.close


def _check_task(number: int, subject: str) -> None:
    """The kernel takes any number, and then there is nothing to read."""
    if number <= 0 or not os.path.exists(f"/proc/{number}"):
        raise BpfError(errno.ESRCH, Phase.ATTACH, subject, detail="there is no such task")


def _nothing() -> None:
    """There is nothing to release."""


def _explained(refused: BpfError, over: IterOver | None) -> BpfError:
    match over, refused.errno:
        case None, errno.EBADF:
            refused.detail = "this iterator is about the elements of a map: pass `OfMap`"
        case None, errno.EINVAL:
            refused.detail = "this iterator needs to know of which object: a map, a control group"
        case OfMap(), errno.EINVAL:
            refused.detail = "the iterator is not about maps of this type, or is about no map"
        case OfMap(), errno.EACCES:
            refused.detail = (
                "the program uses larger keys or values than the map has, or the map is write-only"
            )
        case OfCgroup(), errno.EBADF:
            refused.detail = "the directory is not in a cgroup2 file system"
        case _:
            pass
    return refused
