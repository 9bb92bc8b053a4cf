"""Programs on the probes that executables and libraries bring along (USDT)."""

from __future__ import annotations

import os
import weakref
from collections.abc import Callable, Sequence

from pyebpf.near_names import near
from pyebpf.runtime.attach.link import Link, LinkGroup
from pyebpf.runtime.attach.multi import attach_places
from pyebpf.runtime.attach.uprobe import CodePlace, attach_at
from pyebpf.runtime.binaries import find_binary
from pyebpf.runtime.errors import Problem, TargetError
from pyebpf.runtime.program import LoadedProgram, require_program
from pyebpf.runtime.usdt_notes import UsdtSpec, usdt_probes
from pyebpf.runtime.usdt_records import record, records_of
from pyebpf.uapi.constants import AttachType, ProgType


class UsdtLink(LinkGroup):
    """A program at all places of a probe. ``give_back`` is called when it is let go of, and must not refer to it."""

    def __init__(
        self, program: LoadedProgram, target: str, parts: Sequence[Link], give_back: Callable[[], None]
    ) -> None:
        super().__init__(program, target, parts)
        self._finalizer = weakref.finalize(self, give_back)
        self._finalizer.atexit = False

    def detach(self) -> None:
        """Detach from all places."""
        super().detach()
        self._finalizer()

    def close(self) -> None:
        """Let go of all places."""
        super().close()
        self._finalizer()

    def pin(self, path: str | os.PathLike[str]) -> None:
        """Give the link a name in bpffs. Raises ``NotSupported`` for a probe in several places."""
        if len(self.parts) != 1:
            super().pin(path)
        self.parts[0].pin(path)
        self._finalizer.detach()  # the program goes on to look at its record


def find_usdt(
    binary: str | os.PathLike[str], provider: str, name: str, *, pid: int | None = None
) -> list[UsdtSpec]:
    """Every place of the probe ``provider:name`` in ``binary`` (a path or a name as in ``attach_uprobe``).

    Raises ``TargetError`` with near names if there is none, ``BpfError``.
    """
    path = find_binary(binary, pid)
    probes = usdt_probes(path)
    found = [s for s in probes if (s.provider, s.name) == (provider, name)]
    if found:
        return found
    known = dict.fromkeys(f"{s.provider}:{s.name}" for s in probes)
    raise TargetError(
        Problem.UNKNOWN,
        f"to USDT probe {provider}:{name} of {path}",
        detail="the file has no such probe" if known else "the file has no USDT probes",
        suggestions=near(f"{provider}:{name}", known),
    )


def attach_usdt(
    program: LoadedProgram,
    binary: str | os.PathLike[str],
    provider: str,
    name: str,
    *,
    pid: int | None = None,
    cookie: int = 0,
    arguments: int | None = None,
) -> Link:
    """Run ``program`` at every place of the probe ``provider:name`` in ``binary``; the kernel raises the probe's counter.

    A program made for it is told where the arguments are; to any other one ``cookie`` is what ``bpf_get_attach_cookie``
    gives. A program for uprobe.multi gets one link for all places. ``pid``: only in this process; 0 is this one.
    ``arguments``: how many the program takes, if somebody knows.

    Raises ``TargetError`` with near names if there is no such probe, or if its arguments are not what the program takes;
    else as ``attach_uprobe``.
    """
    require_program(program, "a USDT probe", ProgType.KPROBE)
    path = find_binary(binary, pid)
    specs = find_usdt(path, provider, name, pid=pid)
    target = f"to USDT probe {provider}:{name} of {path}"
    table = records_of(program)
    if table is None:
        parts = _attached(program, path, specs, [cookie] * len(specs), target, pid)
        return parts[0] if len(parts) == 1 else LinkGroup(program, target, parts)
    numbers = table.take([record(s, table.format, cookie, arguments, target) for s in specs], target)
    try:
        parts = _attached(program, path, specs, numbers, target, pid)
    except BaseException:
        table.give_back(numbers)
        raise
    return UsdtLink(program, target, parts, lambda: table.give_back(numbers))


def _attached(
    program: LoadedProgram,
    path: str,
    specs: Sequence[UsdtSpec],
    cookies: list[int],
    target: str,
    pid: int | None,
) -> list[Link]:
    places = [CodePlace(path, s.offset, target.removeprefix("to ")) for s in specs]
    if program.attach_type is AttachType.TRACE_UPROBE_MULTI:
        counters = [s.semaphore for s in specs]
        return [attach_places(program, path, places, cookies, counters=counters, pid=pid)]
    parts: list[Link] = []
    try:
        for spec, place, value in zip(specs, places, cookies, strict=True):
            parts.append(attach_at(program, place, pid=pid, ref_ctr_offset=spec.semaphore, cookie=value))
    except BaseException:
        for part in parts:
            part.close()
        raise
    return parts
