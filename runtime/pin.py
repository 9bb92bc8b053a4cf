"""Names for kernel objects in bpffs, which keep them alive without a process."""

from __future__ import annotations

import ctypes
import errno
import os

from pyebpf.hints import TYPE_CHECKING
from pyebpf.runtime.attrs import ObjPin, address
from pyebpf.runtime.errors import BpfError, Phase
from pyebpf.runtime.fd import Fd
from pyebpf.runtime.syscall import bpf, bpf_fd, error
from pyebpf.uapi.constants import BpfCmd

if TYPE_CHECKING:
    from pathlib import Path
    from typing import Final

BPFFS: Final = "/sys/fs/bpf"


def _filesystem(path: str | Path) -> str:
    """The type of the file system that ``path`` is on, by the longest mount point that leads to it."""
    best, kind = "", ""
    real = os.path.realpath(path)
    with open("/proc/self/mounts") as opened:
        lines = opened.read().splitlines()
    for line in lines:
        mount_point, filesystem = line.split()[1:3]
        inside = real == mount_point or real.startswith(mount_point.rstrip("/") + "/")
        if inside and len(mount_point) >= len(best):
            best, kind = mount_point, filesystem
    return kind


def mount(source: str, target: str, filesystem: str) -> int:
    """mount(2) without flags; 0 or an errno."""
    libc = ctypes.CDLL(None, use_errno=True)
    result = libc.mount(source.encode(), target.encode(), filesystem.encode(), ctypes.c_ulong(0), None)
    return 0 if result == 0 else ctypes.get_errno()


def _prepare(path: Path) -> None:
    """Make sure that ``path`` can be a pin: a name without dots, in bpffs, whose directory exists."""
    subject = f"at {str(path)!r}"
    if "." in path.name:
        raise BpfError(
            errno.EPERM, Phase.PIN, subject, detail="bpffs allows no `.` in names; use `_` instead"
        )
    if path.is_relative_to(BPFFS) and _filesystem(BPFFS) != "bpf":
        code = mount("bpf", BPFFS, "bpf")
        if code:
            raise error(code, Phase.PIN, f"{subject}: bpffs is not mounted there, and mounting it failed")
    if _filesystem(path.parent) == "bpf":
        path.parent.mkdir(parents=True, exist_ok=True)
    elif path.parent.is_dir():
        raise BpfError(
            errno.EPERM, Phase.PIN, subject, detail=f"{str(path.parent)!r} is not in a bpffs file system"
        )


def pin(fd: Fd, path: str | os.PathLike[str]) -> None:
    """Pin the program, map or link ``fd`` at ``path``, making directories in bpffs as needed.

    bpffs is mounted at /sys/fs/bpf if ``path`` is there and it is not. Raises ``BpfError``: EEXIST if the
    name is taken, EPERM outside bpffs or for a name with a dot.
    """
    from pathlib import Path

    absolute = Path(path).absolute()
    _prepare(absolute)
    name = os.fsencode(absolute)
    attr = ObjPin(address(name), fd.fileno())
    bpf(BpfCmd.OBJ_PIN, attr, Phase.PIN, f"at {str(absolute)!r}")


def open_fd(path: str | os.PathLike[str]) -> Fd:
    """A descriptor of the object that is pinned at ``path``. Raises ``BpfError``: ENOENT, EACCES, …"""
    name = os.fsencode(path)
    return bpf_fd(BpfCmd.OBJ_GET, ObjPin(address(name)), Phase.OPEN_PINNED, f"at {os.fspath(path)!r}")
