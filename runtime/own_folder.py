"""The folder for what is kept between runs: it belongs to the user, is closed to all others, and holds whole files.

What lies in another's folder, or in one that others can write to, is neither read nor written. Files are written aside
and renamed, so readers and concurrent writers see whole ones.

``PYEBPF_CACHE=0`` switches keeping off; ``PYEBPF_CACHE_DIR`` names the folder, else it is ``pyebpf`` in
``XDG_CACHE_HOME`` or ``~/.cache``.
"""

from __future__ import annotations

import contextlib
import os
import stat

from pyebpf.hints import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Final


TYPES_SUFFIX: Final = ".types"
"""Of the names of files that ``kernel_index`` keeps."""


def folder() -> str | None:
    """The folder that the environment asks for, or None where keeping is switched off."""
    if os.environ.get("PYEBPF_CACHE") in ("0", ""):
        return None
    stated = os.environ.get("PYEBPF_CACHE_DIR")
    if stated is not None:
        return stated or None
    base = os.environ.get("XDG_CACHE_HOME", "")
    base = base if os.path.isabs(base) else os.path.expanduser("~/.cache")
    return os.path.join(base, "pyebpf") if os.path.isabs(base) else None


def private(home: str) -> bool:
    """Whether the folder is there, belongs to this user and is closed to all others."""
    try:
        state = os.stat(home)
    except OSError:
        return False
    return stat.S_ISDIR(state.st_mode) and _own(state) and not stat.S_IMODE(state.st_mode) & 0o077


def refusal(home: str) -> str | None:
    """Why a folder that is there is not used, and what mends it; None for a good one and for none."""
    import shlex

    try:
        state = os.stat(home)
    except FileNotFoundError:
        return None
    except OSError as error:
        return f"{home} cannot be looked at: {error.strerror}; name another folder with PYEBPF_CACHE_DIR"
    if not stat.S_ISDIR(state.st_mode):
        return f"{home} is not a folder; remove it, or name another folder with PYEBPF_CACHE_DIR"
    if not _own(state):
        return f"{home} belongs to user {state.st_uid}; name a folder of your own with PYEBPF_CACHE_DIR"
    if not private(home):
        mode = stat.S_IMODE(state.st_mode)
        return (
            f"{home} is open to other users (mode {mode:04o}); close it with `chmod 700 {shlex.quote(home)}`"
        )
    return None


def read_own(path: str) -> bytes | None:
    """The contents of a plain file of this user's; None if it is something else or not there."""
    try:
        file = os.open(path, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0))
    except OSError:
        return None
    with open(file, "rb") as opened:
        state = os.fstat(file)
        return opened.read() if stat.S_ISREG(state.st_mode) and _own(state) else None


def write_own(home: str, name: str, data: bytes) -> None:
    """Make or replace a file in a folder that is ``private``. Raises OSError."""
    aside = os.path.join(home, f"{name}.{os.getpid()}.{os.urandom(4).hex()}")
    file = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_CLOEXEC", 0), 0o600)
    try:
        with open(file, "wb") as opened:
            opened.write(data)
        os.replace(aside, os.path.join(home, name))
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(aside)
        raise


def entries(home: str, suffix: str) -> list[tuple[int, int, str]]:
    """Time, size and path of all files with ``suffix`` in their names, the oldest first; also those that a killed writer
    left aside."""
    found = []
    with contextlib.suppress(OSError), os.scandir(home) as listed:
        for entry in listed:
            with contextlib.suppress(OSError):
                if suffix in entry.name and entry.is_file(follow_symlinks=False):
                    state = entry.stat(follow_symlinks=False)
                    found.append((state.st_mtime_ns, state.st_size, entry.path))
    return sorted(found)


def evict(home: str, suffix: str, most: int) -> None:
    """Remove the oldest files with ``suffix``, so that ``most`` stay."""
    found = entries(home, suffix)
    for _, _, path in found[: max(0, len(found) - most)]:
        with contextlib.suppress(OSError):
            os.unlink(path)


def _own(state: os.stat_result) -> bool:
    return not hasattr(os, "geteuid") or state.st_uid == os.geteuid()
