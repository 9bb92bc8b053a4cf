"""Programs on the probes that executables and libraries bring along (USDT)."""

from __future__ import annotations

import os
from collections.abc import Callable

from pyebpf.near_names import near
from pyebpf.runtime.attach.link import Link, LinkGroup
from pyebpf.runtime.attach.multi import attach_places
from pyebpf.runtime.attach.targets import require_program
from pyebpf.runtime.attach.uprobe import CodePlace, attach_at
from pyebpf.runtime.binaries import find_binary
from pyebpf.runtime.errors import Problem, TargetError
from pyebpf.runtime.program import LoadedProgram
from pyebpf.runtime.usdt_notes import UsdtSpec, usdt_probes
from pyebpf.uapi.constants import AttachType, ProgType


def find_usdt(
    binary: str | os.PathLike[str], provider: str, name: str, *, pid: int | None = None
) -> list[UsdtSpec]:
    """Every place of the probe ``provider:name`` in ``binary`` (a path or a name as in ``attach_uprobe``).

    Raises ``TargetError`` with near names if there is none, ``BpfError``.
    """
    path = find_binary(binary, pid)
    found = [s for s in usdt_probes(path) if (s.provider, s.name) == (provider, name)]
    if found:
        return found
    known = dict.fromkeys(f"{s.provider}:{s.name}" for s in usdt_probes(path))
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
    cookie: Callable[[UsdtSpec], int] | None = None,
) -> Link:
    """Run ``program`` at every place of the probe ``provider:name`` in ``binary``; the kernel raises the probe's counter.

    ``cookie``: what ``bpf_get_attach_cookie`` gives at a place: from it the program can tell where the arguments are.
    A program for uprobe.multi gets one link for all places, any other one for each. ``pid``: only in this process; 0 is
    this one.

    Raises ``TargetError`` with near names if there is no such probe; else as ``attach_uprobe``.
    """
    require_program(program, "a USDT probe", ProgType.KPROBE)
    path = find_binary(binary, pid)
    specs = find_usdt(path, provider, name, pid=pid)
    places = [CodePlace(path, s.offset, f"USDT probe {provider}:{name} of {path}") for s in specs]
    cookies = [cookie(s) if cookie is not None else 0 for s in specs]
    if program.attach_type is AttachType.TRACE_UPROBE_MULTI:
        return attach_places(program, path, places, cookies, counters=[s.semaphore for s in specs], pid=pid)
    parts: list[Link] = []
    try:
        for spec, place, value in zip(specs, places, cookies, strict=True):
            parts.append(attach_at(program, place, pid=pid, ref_ctr_offset=spec.semaphore, cookie=value))
    except BaseException:
        for part in parts:
            part.close()
        raise
    return parts[0] if len(parts) == 1 else LinkGroup(program, f"to USDT probe {provider}:{name}", parts)
