"""Programs in the kernel: run them on data, look at them, pin them."""

from __future__ import annotations

import os
from types import TracebackType

from pyebpf.hints import TYPE_CHECKING
from pyebpf.runtime.fd import Fd
from pyebpf.runtime.info import ProgramFacts, program_facts, xlated_code
from pyebpf.runtime.maps import Map
from pyebpf.runtime.pin import pin
from pyebpf.uapi.constants import AttachType, ProgType

if TYPE_CHECKING:
    from typing import Self

    from pyebpf.runtime.run_result import RunResult


class LoadedProgram:
    """A program of the kernel. It closes by ``close``, at the end of a ``with``, or by the garbage
    collector; links and pins keep the kernel's program.

    ``log``: what the verifier said, if a log was asked for. ``handle`` is the owned descriptor. ``maps``: those that it uses,
    as far as this process has loaded it. ``arguments``: which of a USDT probe it reads, if anybody knows.
    """

    def __init__(
        self,
        fd: Fd,
        name: str,
        prog_type: ProgType,
        attach_type: AttachType | None = None,
        log: str = "",
        maps: tuple[Map, ...] = (),
        arguments: tuple[int, ...] | None = None,
    ) -> None:
        self.handle = fd
        self.name = name
        self.type = prog_type
        self.attach_type = attach_type
        self.log = log
        # The kernel empties a program array without descriptors, so programs keep their maps open.
        self.maps = maps
        self.arguments = arguments

    @classmethod
    def from_fd(cls, fd: Fd) -> Self:
        """The program behind ``fd``, which it owns from now on."""
        facts = program_facts(fd)
        return cls(fd, facts.name, facts.type)

    @property
    def fd(self) -> int:
        """The descriptor's number. Raises ``ValueError`` after ``close``."""
        return self.handle.fileno()

    def fileno(self) -> int:
        """As ``fd``."""
        return self.handle.fileno()

    def info(self) -> ProgramFacts:
        """What the kernel says about the program: sizes, verified instructions, run counts, …"""
        return program_facts(self.handle)

    def xlated(self) -> bytes:
        """The instructions as the verifier left them."""
        return xlated_code(self.handle)

    def pin(self, path: str | os.PathLike[str]) -> None:
        """Give it a name in bpffs, which keeps it when this process ends."""
        pin(self.handle, path)

    def run(
        self, data: bytes = b"", *, repeat: int = 1, ctx: bytes | None = None, flags: int = 0, cpu: int = 0
    ) -> RunResult:
        """Run it through the kernel's test run, ``repeat`` times.

        ``data``: a frame of at least 14 bytes for programs on packets (the kernel strips the Ethernet
        header before a socket filter sees it). ``ctx``: the context's bytes: ``struct xdp_md``, ``struct
        __sk_buff``, a tracepoint's arguments, the argument of a syscall program. ``flags`` and ``cpu`` as
        in ``BPF_PROG_RUN``.

        Raises ``NotSupported`` for program types without a test run, ``ValueError`` for input that the type
        does not take, ``TypeError`` for what is no bytes, ``BpfError`` otherwise.
        """
        from pyebpf.runtime.kernel_run import run_in_kernel

        return run_in_kernel(self, data, repeat, ctx, flags, cpu)

    def close(self) -> None:
        """Give the descriptor up; again is harmless."""
        self.handle.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        state = ", closed" if self.handle.closed else ""
        return f"<LoadedProgram {self.name!r} {self.type.name}{state}>"


def require_program(
    program: LoadedProgram, what: str, *types: ProgType, attach_types: tuple[AttachType, ...] = ()
) -> None:
    """Raise ``TypeError`` unless ``program`` is of one of these types, and loaded for one of ``attach_types``."""
    if program.type not in types:
        wanted = " or ".join(t.name for t in types)
        raise TypeError(f"{program.name!r} is a {program.type.name} program; {what} takes {wanted}")
    if attach_types and program.attach_type not in attach_types:
        loaded = program.attach_type.name if program.attach_type is not None else "nothing in particular"
        wanted = " or ".join(t.name for t in attach_types)
        raise TypeError(f"{program.name!r} was loaded for {loaded}; {what} takes programs for {wanted}")
