"""tracefs: where it is mounted, and which events the kernel has (``event_format``: what their records look like).

Source: Documentation/trace/events.rst.
"""

from __future__ import annotations

import errno
import functools
import os
import stat

from pyebpf.hints import TYPE_CHECKING
from pyebpf.runtime.errors import BpfError, Phase, Problem, TargetError
from pyebpf.runtime.pin import mount
from pyebpf.runtime.privilege import Need
from pyebpf.runtime.syscall import error

if TYPE_CHECKING:
    from typing import Final


ROOTS: Final = ("/sys/kernel/tracing", "/sys/kernel/debug/tracing")
_EVENTS: Final = "events"
_MOST: Final = 4


def root(phase: Phase = Phase.TRACEFS) -> str:
    """Where tracefs is; it is mounted at /sys/kernel/tracing if it is nowhere and that is permitted.

    ``phase``: what it is needed for. Raises ``BpfError`` with the reason.
    """
    closed: OSError | None = None
    for path in ROOTS:
        try:
            os.stat(f"{path}/trace_pipe")
        except (FileNotFoundError, NotADirectoryError):
            continue
        except OSError as found:
            closed = found
        else:
            return path
    if closed is not None:
        raise refused(closed, "", phase)
    code = mount("tracefs", ROOTS[0], "tracefs")
    if code in (0, errno.EBUSY) and os.path.exists(f"{ROOTS[0]}/trace_pipe"):
        return ROOTS[0]
    detail = f"tracefs is not mounted at {ROOTS[0]}, and mounting it failed"
    raise error(code or errno.ENOENT, phase, detail, need=Need.SYS_ADMIN)


def refused(found: OSError, subject: str, phase: Phase = Phase.TRACEFS) -> BpfError:
    """The typed exception for a file of tracefs that could not be used."""
    code = found.errno or errno.EIO
    refusal = error(code, phase, subject, need=Need.SYS_ADMIN)
    if code == errno.EACCES:
        refusal.detail = "the files in tracefs belong to root"
    return refusal


def read(name: str) -> str:
    """The text of a file below the root of tracefs. Raises ``BpfError``."""
    try:
        return file_text(f"{root()}/{name}")
    except OSError as found:
        if isinstance(found, BpfError):
            raise
        raise refused(found, repr(name)) from None


def file_text(path: str) -> str:
    """The text of a file of the kernel. Raises ``OSError``."""
    with open(path, encoding="utf-8") as opened:
        return opened.read()


# ---------------------------------------------------------------- events


def categories() -> list[str]:
    """The categories of events. Raises ``BpfError``."""
    return _directories(f"{root()}/{_EVENTS}")


def events(category: str) -> list[str]:
    """The events of a category. Raises ``TargetError`` if there is no such category."""
    path = f"{root()}/{_EVENTS}/{category}"
    subject = f"to tracepoints of {category!r}"
    if not category or "/" in category or not _is_directory(path, subject):
        raise _no_category(category, subject)
    return _directories(path)


@functools.cache
def all_events() -> tuple[tuple[str, str], ...]:
    """Category and name of every event; looked up once, as the kernel had them then. Raises ``BpfError``."""
    found = []
    for line in read("available_events").splitlines():
        category, _, name = line.partition(":")
        found.append((category, name))
    return tuple(found)


def event_id(category: str, name: str) -> int:
    """The number of an event. Raises ``TargetError`` with near names if there is none."""
    text = event_file(category, name, "id")
    return int(text)


def event_file(category: str, name: str, file: str) -> str:
    """The text of one of the files that an event has. Raises ``TargetError`` with near names if there is no such event."""
    subject = f"to tracepoint {category}:{name}"
    directory = f"{root()}/{_EVENTS}/{category}"
    if not category or not name or "/" in category + name or not _is_directory(directory, subject):
        raise _no_category(category, subject, name)
    try:
        return file_text(f"{directory}/{name}/{file}")
    except (FileNotFoundError, NotADirectoryError):
        raise _no_event(category, name, subject) from None
    except OSError as found:
        raise refused(found, subject) from None


def _elsewhere(name: str) -> tuple[str, ...]:
    """The events called ``name`` in all categories; only suggestions, so that it does not matter if nothing tells."""
    try:
        return tuple(f"{other}:{same}" for other, same in all_events() if same == name)[:_MOST]
    except BpfError:
        return ()


def _no_category(category: str, subject: str, name: str = "") -> TargetError:
    from pyebpf.near_names import near

    return TargetError(
        Problem.UNKNOWN,
        subject,
        detail=f"this kernel has no tracepoints of category {category!r}",
        suggestions=_elsewhere(name) or near(category, categories()),
    )


def _no_event(category: str, name: str, subject: str) -> TargetError:
    from pyebpf.near_names import near

    return TargetError(
        Problem.UNKNOWN,
        subject,
        detail=f"this kernel has no tracepoint {name!r} in {category!r}",
        suggestions=_elsewhere(name) or tuple(f"{category}:{n}" for n in near(name, events(category))),
    )


def _is_directory(path: str, subject: str) -> bool:
    try:
        return stat.S_ISDIR(os.stat(path).st_mode)
    except (FileNotFoundError, NotADirectoryError, ValueError):  # the last for a zero byte in the name
        return False
    except OSError as found:
        raise refused(found, subject) from None


def _directories(path: str) -> list[str]:
    try:
        with os.scandir(path) as entries:
            return sorted(entry.name for entry in entries if entry.is_dir())
    except OSError as found:
        raise refused(found, repr(path)) from None
