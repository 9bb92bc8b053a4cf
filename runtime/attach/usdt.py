"""Programs on the probes that executables and libraries bring along (USDT)."""

from __future__ import annotations

import errno
import os
import weakref
from collections.abc import Callable, Sequence

from pyebpf.near_names import near
from pyebpf.records import dataclass
from pyebpf.runtime.attach.link import Link, LinkGroup
from pyebpf.runtime.attach.multi import attach_places
from pyebpf.runtime.attach.uprobe import CodePlace, attach_at
from pyebpf.runtime.binaries import find_binary
from pyebpf.runtime.errors import NotSupported, Phase, Problem, TargetError
from pyebpf.runtime.info import LinkFacts
from pyebpf.runtime.program import LoadedProgram, require_program
from pyebpf.runtime.usdt_notes import UsdtSpec, usdt_probes
from pyebpf.runtime.usdt_records import record, records_of
from pyebpf.uapi.constants import AttachType, ProgType


class UsdtLink(LinkGroup):
    """A program at all places of a probe. ``give_back`` is called when it is at none of them any more, and must not refer to
    this object."""

    def __init__(
        self, program: LoadedProgram, target: str, parts: Sequence[Link], give_back: Callable[[], None]
    ) -> None:
        super().__init__(program, target, parts)
        self._pins: list[str] = []
        self._finalizer = weakref.finalize(self, _unless_pinned, self._pins, give_back)
        self._finalizer.atexit = False

    def detach(self) -> None:
        """Detach from all places."""
        super().detach()
        self._pins.clear()
        self._finalizer()

    def close(self) -> None:
        """Let go of all places; a pinned one stays."""
        super().close()
        if not self._pins:
            self._finalizer()

    def pin(self, path: str | os.PathLike[str]) -> None:
        """Give the link a name in bpffs. Raises ``NotSupported`` for a probe in several places."""
        self._only(Phase.PIN).pin(path)
        self._pins.append(os.fspath(path))

    def info(self) -> LinkFacts:
        """What the kernel says about the link. Raises ``NotSupported`` for a probe in several places."""
        return self._only(Phase.OBJECT_INFO).info()

    def _only(self, phase: Phase) -> Link:
        if len(self.parts) != 1:
            detail = f"the probe is in {len(self.parts)} places, and each has a link of its own"
            raise NotSupported(errno.EOPNOTSUPP, phase, self.target, detail=detail)
        return self.parts[0]


def _unless_pinned(pins: Sequence[str], give_back: Callable[[], None]) -> None:
    """Programs of pinned links go on to look at their records."""
    if not pins:
        give_back()


@dataclass(frozen=True, slots=True)
class UsdtPlaces:
    """A probe that is there: the places of ``provider:name`` in the file ``path``."""

    path: str
    provider: str
    name: str
    specs: tuple[UsdtSpec, ...]

    def __str__(self) -> str:
        return f"USDT probe {self.provider}:{self.name} of {self.path}"


def find_usdt(
    binary: str | os.PathLike[str], provider: str, name: str, *, pid: int | None = None
) -> UsdtPlaces:
    """Every place of the probe ``provider:name`` in ``binary`` (a path or a name as in ``attach_uprobe``).

    Raises ``TargetError`` with near names if there is none, ``BpfError``.
    """
    path = find_binary(binary, pid)
    probes = usdt_probes(path)
    found = UsdtPlaces(
        path, provider, name, tuple(s for s in probes if (s.provider, s.name) == (provider, name))
    )
    if found.specs:
        return found
    known = dict.fromkeys(f"{s.provider}:{s.name}" for s in probes)
    raise TargetError(
        Problem.UNKNOWN,
        f"to {found}",
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
) -> Link:
    """Run ``program`` at every place of the probe ``provider:name`` in ``binary``; the kernel raises the probe's counter.

    A program made for it is told where the arguments are; to any other one ``cookie`` is what ``bpf_get_attach_cookie``
    gives. A program for uprobe.multi gets one link for all places. ``pid``: only in this process; 0 is this one.

    Raises ``TargetError`` with near names if there is no such probe, or if its arguments are not what the program reads;
    else as ``attach_uprobe``.
    """
    return attach_found(program, find_usdt(binary, provider, name, pid=pid), pid=pid, cookie=cookie)


def attach_found(
    program: LoadedProgram, probe: UsdtPlaces, *, pid: int | None = None, cookie: int = 0
) -> Link:
    """The same at a probe that has been found."""
    require_program(program, "a USDT probe", ProgType.KPROBE)
    target = f"to {probe}"
    found = records_of(program)
    if found is None:
        parts = _attached(program, probe, [cookie] * len(probe.specs), pid)
        return parts[0] if len(parts) == 1 else LinkGroup(program, target, parts)
    table, records = found
    contents = [record(s, records.format, cookie, program.arguments, target) for s in probe.specs]
    numbers = records.take(table, contents, target)
    try:
        parts = _attached(program, probe, numbers, pid)
    except BaseException:
        records.give_back(numbers)
        raise
    return UsdtLink(program, target, parts, lambda: records.give_back(numbers))


def _attached(
    program: LoadedProgram, probe: UsdtPlaces, cookies: Sequence[int], pid: int | None
) -> list[Link]:
    places = [CodePlace(probe.path, s.offset, str(probe)) for s in probe.specs]
    if program.attach_type is AttachType.TRACE_UPROBE_MULTI:
        counters = [s.semaphore for s in probe.specs]
        return [attach_places(program, probe.path, places, list(cookies), counters=counters, pid=pid)]
    parts: list[Link] = []
    try:
        for spec, place, value in zip(probe.specs, places, cookies, strict=True):
            parts.append(attach_at(program, place, pid=pid, ref_ctr_offset=spec.semaphore, cookie=value))
    except BaseException:
        for part in parts:
            part.close()
        raise
    return parts
