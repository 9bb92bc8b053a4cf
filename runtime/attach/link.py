"""Attachments as objects: what all have in common, and the kernel's own kind of them, the bpf_link.

A link detaches at the end of a ``with``, by ``detach``, and when it is garbage-collected or Python exits:
the way attachments that die with a descriptor behave, and those that do not are made to. ``pin`` is how one
stays.
"""

from __future__ import annotations

import contextlib
import errno
import os
import weakref
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from types import TracebackType

from pyebpf.hints import TYPE_CHECKING
from pyebpf.runtime.attrs import LinkCreate, LinkDetach, LinkUpdate
from pyebpf.runtime.errors import NotSupported, Phase
from pyebpf.runtime.fd import Fd
from pyebpf.runtime.info import LinkFacts, link_facts
from pyebpf.runtime.pin import pin
from pyebpf.runtime.privilege import Need
from pyebpf.runtime.program import LoadedProgram
from pyebpf.runtime.syscall import bpf, bpf_fd
from pyebpf.uapi.constants import AttachType, BpfCmd

if TYPE_CHECKING:
    from typing import Final, Self


_REPLACE: Final = 4


class Link(ABC):
    """A program at its hook. ``program`` is what was attached last, ``target`` says where."""

    def __init__(self, program: LoadedProgram | None, target: str) -> None:
        self.program = program
        self.target = target

    @property
    @abstractmethod
    def attached(self) -> bool:
        """Whether this object still holds the attachment."""

    @abstractmethod
    def detach(self) -> None:
        """Take the program off its hook now, even if the link is pinned; again is harmless. Raises
        ``BpfError``."""

    @abstractmethod
    def close(self) -> None:
        """Let go: the program is detached unless the link is pinned; again is harmless."""

    def update(self, program: LoadedProgram) -> None:
        """Put another program of the same type in place, without a moment between. Raises ``NotSupported``
        for attachments that cannot, ``BpfError``."""
        raise self._not_supported(Phase.UPDATE_LINK)

    def pin(self, path: str | os.PathLike[str]) -> None:
        """Give the link a name in bpffs: it stays attached when this process ends. Raises ``NotSupported``
        for attachments without a bpf_link, ``BpfError``."""
        raise self._not_supported(Phase.PIN)

    def info(self) -> LinkFacts:
        """What the kernel says about the link. Raises ``NotSupported`` for attachments without a bpf_link."""
        raise self._not_supported(Phase.OBJECT_INFO)

    def _not_supported(self, phase: Phase) -> NotSupported:
        detail = f"{type(self).__name__} is not a bpf_link of the kernel"
        return NotSupported(errno.EOPNOTSUPP, phase, self.target, detail=detail)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        name = self.program.name if self.program is not None else "?"
        return f"<{type(self).__name__} {name!r} {self.target}{'' if self.attached else ', detached'}>"


class BpfLink(Link):
    """A bpf_link. Closing its last descriptor detaches, unless it is pinned."""

    def __init__(self, handle: Fd, program: LoadedProgram | None, target: str) -> None:
        super().__init__(program, target)
        self.handle = handle
        self._detached = False

    @property
    def attached(self) -> bool:
        """Whether the link is open and was not detached through this object."""
        return not self._detached and not self.handle.closed

    def fileno(self) -> int:
        """The descriptor's number. Raises ``ValueError`` after ``close``."""
        return self.handle.fileno()

    def detach(self) -> None:
        """Take the program off its hook, also if the link is pinned."""
        if not self.attached:
            return
        bpf(
            BpfCmd.LINK_DETACH,
            LinkDetach(self.handle.fileno()),
            Phase.DETACH,
            self.target,
            need=Need.BPF | Need.NET_ADMIN,
        )
        self._detached = True
        self.handle.close()

    def close(self) -> None:
        """Close the descriptor; detaches unless the link is pinned."""
        self.handle.close()

    def update(self, program: LoadedProgram) -> None:
        """Put another program of the same type in place, atomically. Raises ``BpfError``."""
        attr = LinkUpdate(self.handle.fileno(), program.fd)
        if self.program is not None and not self.program.handle.closed:
            attr.flags, attr.old_prog_fd = _REPLACE, self.program.fd
        bpf(BpfCmd.LINK_UPDATE, attr, Phase.UPDATE_LINK, self.target)
        self.program = program

    def pin(self, path: str | os.PathLike[str]) -> None:
        """Give the link a name in bpffs."""
        pin(self.handle, path)

    def info(self) -> LinkFacts:
        """Ask the kernel."""
        return link_facts(self.handle)


class HeldLink(BpfLink):
    """A bpf_link that the kernel knows no command to detach: it ends with its last descriptor and its last pin.

    ``pins``: where it is pinned, as far as this object knows.
    """

    def __init__(
        self,
        handle: Fd,
        program: LoadedProgram | None,
        target: str,
        pins: tuple[str | os.PathLike[str], ...] = (),
    ) -> None:
        super().__init__(handle, program, target)
        self._pins = [os.path.abspath(path) for path in pins]  # the process may go elsewhere meanwhile

    def pin(self, path: str | os.PathLike[str]) -> None:
        """Give the link a name in bpffs."""
        super().pin(path)
        self._pins.append(os.path.abspath(path))

    def detach(self) -> None:
        """Remove the pins that this object knows of and close; other descriptors and pins would still hold the link."""
        for path in self._pins:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(path)
        self._pins.clear()
        self._detached = True
        self.close()

    def update(self, program: LoadedProgram) -> None:
        """Raises ``NotSupported``: the kernel replaces no programs of such links."""
        raise NotSupported(
            errno.EOPNOTSUPP,
            Phase.UPDATE_LINK,
            self.target,
            detail="the kernel replaces no programs of tracing links; attach the other one and detach this",
        )


class LinkGroup(Link):
    """Several attachments of one program that come and go together, one on each CPU for instance."""

    def __init__(self, program: LoadedProgram, target: str, parts: Sequence[Link]) -> None:
        super().__init__(program, target)
        self.parts = tuple(parts)

    @property
    def attached(self) -> bool:
        """Whether any of them still holds."""
        return any(part.attached for part in self.parts)

    def detach(self) -> None:
        """Detach all."""
        with contextlib.ExitStack() as stack:
            for part in self.parts:
                stack.callback(part.detach)

    def close(self) -> None:
        """Let go of all."""
        with contextlib.ExitStack() as stack:
            for part in self.parts:
                stack.callback(part.close)


class OtherLink(Link):
    """An attachment that outlives descriptors, undone by a function that must not refer to this object."""

    def __init__(self, program: LoadedProgram, target: str, undo: Callable[[], None]) -> None:
        super().__init__(program, target)
        self._finalizer = weakref.finalize(self, _undo_in, os.getpid(), undo)

    @property
    def attached(self) -> bool:
        """Whether it has not been undone through this object."""
        return self._finalizer.alive

    def detach(self) -> None:
        """Undo the attachment."""
        self._finalizer()

    def close(self) -> None:
        """Undo the attachment: there is no pin that could hold it."""
        self._finalizer()


def _undo_in(process: int, undo: Callable[[], None]) -> None:
    """Undo an attachment, but not when a fork of the process that made it exits."""
    if os.getpid() == process:
        undo()


def create_link(
    program: LoadedProgram,
    attach_type: AttachType,
    target: int,
    subject: str,
    *,
    flags: int = 0,
    need: Need = Need.BPF | Need.NET_ADMIN,
) -> BpfLink:
    """``BPF_LINK_CREATE`` on ``target``, an interface index or a descriptor. Raises ``BpfError``."""
    attr = LinkCreate(prog_fd=program.fd, target_fd=target, attach_type=attach_type, flags=flags)
    fd = bpf_fd(BpfCmd.LINK_CREATE, attr, Phase.ATTACH, f"{program.name!r} {subject}", need=need)
    return BpfLink(fd, program, subject)
