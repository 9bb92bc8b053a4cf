"""Reopening what is pinned in bpffs, whatever it is."""

from __future__ import annotations

import os

from pyebpf.hints import TYPE_CHECKING
from pyebpf.layout import Layout
from pyebpf.runtime.attach.iterator import IterLink
from pyebpf.runtime.attach.link import BpfLink, HeldLink
from pyebpf.runtime.errors import ObjectError
from pyebpf.runtime.fd import Fd
from pyebpf.runtime.info import fdinfo, link_facts
from pyebpf.runtime.map_kinds import map_of
from pyebpf.runtime.maps import Map
from pyebpf.runtime.pin import open_fd
from pyebpf.runtime.program import LoadedProgram
from pyebpf.uapi.constants import LinkType

if TYPE_CHECKING:
    from typing import Final


_HELD: Final = frozenset(
    {
        LinkType.RAW_TRACEPOINT,
        LinkType.TRACING,
        LinkType.PERF_EVENT,
        LinkType.KPROBE_MULTI,
        LinkType.UPROBE_MULTI,
    }
)
"""Links that the kernel has no command to detach."""


def open_pinned(
    path: str | os.PathLike[str], *, key: Layout | None = None, value: Layout | None = None
) -> Map | LoadedProgram | BpfLink:
    """The map, program or link that is pinned at ``path``.

    ``key`` and ``value``: the layouts of a map, where it is to be more than bytes. Raises ``BpfError``
    (ENOENT, EACCES, …), ``ValueError`` if a layout does not fit.
    """
    fd = open_fd(path)
    try:
        kinds = fdinfo(fd).keys()
        if "map_type" in kinds:
            return map_of(fd, key, value)
        if key is not None or value is not None:
            raise ValueError(f"layouts of keys and values are for maps, but at {os.fspath(path)!r} is none")
        # A program array's descriptor shows the type of its programs too, so maps are asked for first.
        if "prog_tag" in kinds and "link_type" not in kinds:
            return LoadedProgram.from_fd(fd)
        if "link_type" in kinds:
            return _link(fd, path)
        raise ObjectError(f"at {os.fspath(path)!r} is neither a map nor a program nor a link")
    except BaseException:
        fd.close()
        raise


def _link(fd: Fd, path: str | os.PathLike[str]) -> BpfLink:
    """The link behind ``fd``, with the operations that its kind has."""
    target = f"pinned at {os.fspath(path)!r}"
    kind = link_facts(fd).type
    if kind is LinkType.ITER:
        return IterLink(fd, None, target, (path,))
    return HeldLink(fd, None, target, (path,)) if kind in _HELD else BpfLink(fd, None, target)
