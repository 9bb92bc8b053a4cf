"""Programs in the kernel: run them on data, look at them, pin them."""

from __future__ import annotations

import ctypes
import errno
import os
from types import TracebackType

from pyebpf.hints import Final, Self
from pyebpf.runtime.attrs import ProgRun
from pyebpf.runtime.errors import NotSupported, Phase
from pyebpf.runtime.fd import Fd
from pyebpf.runtime.info import ProgramFacts, program_facts, xlated_code
from pyebpf.runtime.maps import Map
from pyebpf.runtime.pin import pin
from pyebpf.runtime.privilege import program_need
from pyebpf.runtime.run_result import ON_PACKETS, ON_SKB, RunResult, check_input, longest_frame
from pyebpf.runtime.syscall import call, error
from pyebpf.uapi.constants import AttachType, BpfCmd, ProgType

__all__ = ["LoadedProgram", "RunResult", "require_program"]

_HEADROOM: Final = 4096 + 512
"""How much more data than it got a program may give back: an XDP program can grow the frame by about a
page."""


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
        data = check_input(self.type, data, repeat, ctx)
        ctx = None if ctx is None else bytes(ctx)
        attr = ProgRun(prog_fd=self.fd, flags=flags, cpu=cpu)
        packet = ctypes.create_string_buffer(data, max(len(data), 1))
        out = ctypes.create_string_buffer(len(data) + _HEADROOM)
        context = ctypes.create_string_buffer(ctx or b"", max(len(ctx or b""), 1))
        context_out = ctypes.create_string_buffer(ctx or b"", max(len(ctx or b""), 1))
        if data:
            attr.repeat = repeat
            attr.data_in, attr.data_size_in = ctypes.addressof(packet), len(data)
            attr.data_out, attr.data_size_out = ctypes.addressof(out), len(out)
        if ctx is not None:
            attr.ctx_in, attr.ctx_size_in = ctypes.addressof(context), len(ctx)
            if self.type in ON_PACKETS or self.type is ProgType.SK_LOOKUP:
                attr.ctx_out, attr.ctx_size_out = ctypes.addressof(context_out), len(ctx)
        result = call(BpfCmd.PROG_RUN, attr)
        if result < 0:
            raise self._run_failure(-result, len(data))
        after = context if self.type is ProgType.SYSCALL else context_out
        return RunResult(
            verdict=ctypes.c_int32(attr.retval).value,
            data=out.raw[: attr.data_size_out] if data else b"",
            duration=attr.duration,
            ctx=after.raw[: len(ctx)] if ctx is not None else b"",
        )

    def _run_failure(self, code: int, length: int) -> Exception:
        found = error(code, Phase.PROG_RUN, repr(self.name), need=program_need(self.type))
        if isinstance(found, NotSupported):
            found.detail = f"the kernel has no test run for {self.type.name} programs; attach it instead"
        elif code == errno.EINVAL and self.type in ON_SKB and length > longest_frame():
            found.detail = f"a test run takes frames of 14 to {longest_frame()} bytes, not {length}"
        elif code == errno.EINVAL:
            found.detail = "the kernel does not accept this data or this context for the program's type"
        return found

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
