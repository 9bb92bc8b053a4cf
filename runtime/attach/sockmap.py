"""Programs on sockmaps: parsers and verdicts for what the sockets in the map receive, verdicts for what
they send."""

from __future__ import annotations

import errno

from pyebpf.hints import TYPE_CHECKING
from pyebpf.runtime.attach.link import Link, OtherLink, create_link
from pyebpf.runtime.attrs import ProgAttach
from pyebpf.runtime.errors import BpfError, Phase
from pyebpf.runtime.map_kinds import SockMap
from pyebpf.runtime.maps import Map
from pyebpf.runtime.privilege import Need
from pyebpf.runtime.program import LoadedProgram
from pyebpf.runtime.syscall import bpf
from pyebpf.uapi.constants import AttachType, BpfCmd, ProgType

if TYPE_CHECKING:
    from typing import Final


_DEFAULTS: Final = {ProgType.SK_SKB: AttachType.SK_SKB_VERDICT, ProgType.SK_MSG: AttachType.SK_MSG_VERDICT}


def attach_sockmap(
    program: LoadedProgram,
    sockets: Map,
    *,
    attach_type: AttachType | None = None,
    link: bool | None = None,
) -> Link:
    """Let ``program`` handle the sockets in ``sockets``; those put in afterwards are covered for certain.

    ``attach_type``: the program's own unless given (``SK_SKB_STREAM_PARSER``, ``SK_SKB_STREAM_VERDICT``,
    ``SK_SKB_VERDICT``, ``SK_MSG_VERDICT``). ``link``: whether by a bpf_link; without a choice, where this
    kernel has it (6.10). Raises ``BpfError``.
    """
    chosen = attach_type or program.attach_type or _DEFAULTS.get(program.type)
    if not isinstance(sockets, SockMap):
        raise TypeError(f"{sockets.name!r} is a {sockets.type.name}, not a map of sockets")
    if chosen is None:
        raise TypeError(
            f"{program.name!r} is a {program.type.name} program, which does not attach to a sockmap"
        )
    subject = f"to sockmap {sockets.name!r} ({chosen.name})"
    if link is not False:
        try:
            return create_link(program, chosen, sockets.fd, subject)
        except BpfError as error:
            # Kernels before 6.10 have no links for sockmaps.
            if error.errno != errno.EINVAL or link:
                raise
    attr = ProgAttach(target_fd=sockets.fd, attach_bpf_fd=program.fd, attach_type=chosen)
    need = Need.BPF | Need.NET_ADMIN
    bpf(BpfCmd.PROG_ATTACH, attr, Phase.ATTACH, f"{program.name!r} {subject}", need=need)
    map_fd, program_fd = sockets.handle.duplicate(), program.handle.duplicate()

    def undo() -> None:
        with map_fd, program_fd:
            attr = ProgAttach(
                target_fd=map_fd.fileno(), attach_bpf_fd=program_fd.fileno(), attach_type=chosen
            )
            try:
                bpf(BpfCmd.PROG_DETACH, attr, Phase.DETACH, subject, need=need)
            except BpfError as error:
                # Somebody has put another program there.
                if error.errno != errno.ENOENT:
                    raise

    return OtherLink(program, subject, undo)
