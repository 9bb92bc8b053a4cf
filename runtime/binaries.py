"""Which file is meant by the name of an executable or a library: ``bash``, ``libc``, ``libssl.so.3``, a path; and
what a process has mapped."""

from __future__ import annotations

import errno
import glob
import itertools
import os
import re
import shutil
from collections.abc import Iterator

from pyebpf.hints import TYPE_CHECKING
from pyebpf.near_names import near
from pyebpf.records import dataclass
from pyebpf.runtime.errors import BpfError, Phase, Problem, TargetError

if TYPE_CHECKING:
    from typing import Final


_CONFIGURED: Final = "/etc/ld.so.conf"
_STANDARD: Final = ("/usr/lib64", "/usr/lib", "/lib64", "/lib")
_DELETED: Final = " (deleted)"
_MAGIC: Final = b"\x7fELF"
_DEEPEST: Final = 4
_PROCESSES: Final = 1 << 22
"""The kernel numbers no more processes (``PID_MAX_LIMIT`` in include/linux/threads.h)."""


@dataclass(frozen=True, slots=True)
class Mapping:
    """A part of a file in the memory of a process: addresses ``start`` up to ``end`` are the file from byte ``offset``
    on. ``path`` as the process sees it, or a name in brackets; ``opened`` is how this process can open it."""

    start: int
    end: int
    offset: int
    executable: bool
    path: str
    opened: str


def mappings(pid: int) -> list[Mapping]:
    """What process ``pid`` has mapped that has a name. Raises ``BpfError``: ESRCH for no such process."""
    subject = f"of process {pid}"
    try:
        with open(f"/proc/{pid}/maps", errors="surrogateescape") as opened:
            lines = opened.read().splitlines()
    except FileNotFoundError:
        raise BpfError(errno.ESRCH, Phase.SYMBOLS, subject) from None
    except OSError as found:
        raise BpfError(found.errno or errno.EIO, Phase.SYMBOLS, subject) from None
    result = []
    for line in lines:
        words = line.split(None, 5)
        if len(words) < 6:
            continue
        span, access, offset, _, _, path = words
        start, _, end = span.partition("-")
        # What was deleted or replaced since is still there under its addresses.
        if path.endswith(_DELETED):
            path, file = path.removesuffix(_DELETED), f"/proc/{pid}/map_files/{span}"
        else:
            file = f"/proc/{pid}/root{path}" if pid != os.getpid() else path
        result.append(Mapping(int(start, 16), int(end, 16), int(offset, 16), "x" in access, path, file))
    return result


def find_binary(name: str | os.PathLike[str], pid: int | None = None) -> str:
    """The path of the ELF file that ``name`` means.

    A name with a slash is a path. Else a library (``libc``, ``libc.so.6``) or an executable: one that process ``pid``,
    if given, has mapped; what this process has mapped or the linker would find; what is in PATH. Raises ``TargetError``
    with near names, ``BpfError`` if there is no such process, ``ValueError`` for a number that no process has.
    """
    text = os.fspath(name)
    if pid is not None and not 0 <= pid < _PROCESSES:
        raise ValueError(f"{pid} is no number of a process")
    if "/" in text:
        if not os.path.exists(text):
            raise _unknown(text, _beside(text))
        return text
    if pid is not None:
        for mapping in mappings(pid or os.getpid()):
            if _is_library(text, mapping.path) or os.path.basename(mapping.path) == text:
                return mapping.opened
    found = _library(text) or _executable(text)
    if found is None:
        known = {re.split(r"\.so\b", os.path.basename(path))[0] for path in _libraries()}
        raise _unknown(text, (*near(text, known), *near(text, _executables()))[:4])
    return found


def _is_library(name: str, path: str) -> bool:
    """Whether ``path`` is the library ``name``: ``libc`` is ``libc.so`` and ``libc.so.6``, ``libc.so`` any version."""
    file = os.path.basename(path)
    return file == name or (
        name.startswith("lib")
        and file.startswith(name)
        and re.fullmatch(r"(\.so)?(\.[0-9]+)*", file.removeprefix(name)) is not None
    )


def _library(name: str) -> str | None:
    if not name.startswith("lib") and ".so" not in name:
        return None
    # The process's own comes first: of several versions it is the one that is in use.
    own = (m.path for m in mappings(os.getpid()) if m.path.startswith("/"))
    known = itertools.chain(own, _libraries())
    return next((path for path in known if _is_library(name, path) and _is_elf(path)), None)


def _libraries() -> Iterator[str]:
    """Every library where the dynamic linker looks, in its order."""
    directories = os.environ.get("LD_LIBRARY_PATH", "").split(":")
    directories += [*_configured(_CONFIGURED, 0), *_STANDARD]
    for directory in dict.fromkeys(d for d in directories if d):
        yield from sorted(glob.glob(f"{glob.escape(directory)}/*.so*"))


def _configured(path: str, depth: int) -> list[str]:
    """The directories in a file of the dynamic linker's configuration, and in those that it includes."""
    try:
        with open(path) as opened:
            lines = opened.read().splitlines()
    except OSError:
        return []
    found: list[str] = []
    for line in lines:
        words = line.partition("#")[0].split()
        if words and words[0] == "include":
            for pattern in words[1:] if depth < _DEEPEST else ():
                for file in sorted(glob.glob(os.path.join(os.path.dirname(path), pattern))):
                    found += _configured(file, depth + 1)
        elif words:
            found.append(words[0])
    return found


def _executable(name: str) -> str | None:
    path = os.pathsep.join((os.environ.get("PATH", ""), "/usr/bin", "/usr/sbin"))
    return shutil.which(name, path=path)


def _executables() -> list[str]:
    names: list[str] = []
    for directory in dict.fromkeys((*os.environ.get("PATH", "").split(os.pathsep), "/usr/bin", "/usr/sbin")):
        if os.path.isdir(directory):
            names += os.listdir(directory)
    return names


def _is_elf(path: str) -> bool:
    try:
        with open(path, "rb") as opened:
            return opened.read(4) == _MAGIC
    except OSError:
        return False


def _beside(path: str) -> tuple[str, ...]:
    directory = os.path.dirname(path) or "."
    if not os.path.isdir(directory):
        return ()
    return tuple(os.path.join(directory, n) for n in near(os.path.basename(path), os.listdir(directory)))


def _unknown(name: str, suggestions: tuple[str, ...]) -> TargetError:
    return TargetError(
        Problem.UNKNOWN,
        f"to code of {name!r}",
        detail="there is no such file" if "/" in name else "there is no library or executable of this name",
        suggestions=suggestions,
    )
