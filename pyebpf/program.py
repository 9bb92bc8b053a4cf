"""Programs: what a decorator makes of a function, with everything that can be done with it.

Compilation happens at the first use, not when the decorator runs, so globals and captured variables have the
values of that moment.
"""

from __future__ import annotations

from pyebpf.collecting import paused
from pyebpf.declare import ProgramDecl
from pyebpf.hints import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import socket
    from pathlib import Path

    from pyebpf.driver import Compiled
    from pyebpf.maps import SockMap
    from pyebpf.runtime.attach.link import Link
    from pyebpf.runtime.listing import RunStatistics
    from pyebpf.runtime.load import LoadedProgram
    from pyebpf.runtime.run_result import RunResult
    from pyebpf.target import Target


class Program:
    """An eBPF program. Attributes of the function (``__name__``, ``__doc__``) are the program's too."""

    __bpf__: ProgramDecl

    def __init__(self, decl: ProgramDecl) -> None:
        self.__bpf__ = decl
        self.function = decl.function
        self.__name__ = decl.name
        self.__doc__ = decl.function.__doc__
        self.__module__ = decl.function.__module__
        self.__wrapped__ = decl.function

    @property
    def name(self) -> str:
        """The program's name: the function's, unless the decorator was given another."""
        return self.__bpf__.name

    def __call__(self, *args: Any) -> Any:
        raise TypeError(
            f"{self.name} is a {self.__bpf__.kind.name} program: attach it, or run it on data with "
            f"{self.name}.run(…); {self.name}.function is the plain Python function"
        )

    def __repr__(self) -> str:
        return f"<{self.__bpf__.kind.name} program {self.name}>"

    def _repr_html_(self) -> str:
        from pyebpf.notebook import program_html

        return program_html(self.__bpf__)

    # ------------------------------------------------------------ compiling

    def compile(self, target: Target | None = None) -> Compiled:
        """Compile for ``target`` (the running kernel by default) without loading. Raises ``CompileError``."""
        from pyebpf.driver import compile_programs

        return compile_programs([self.__bpf__], target)

    def check(self) -> None:
        """Raise ``CompileError`` with every diagnostic if the program cannot be compiled; else do nothing."""
        self.compile()

    @property
    def ir(self) -> str:
        """The optimised SSA as text."""
        return self.compile().ir

    def disassemble(self) -> str:
        """The instructions beside the Python lines that they come from."""
        return self.compile().listing

    def elf(self) -> bytes:
        """An object file with this program, as ``pyebpf build`` writes it."""
        return self.compile().elf()

    # ------------------------------------------------------------ the kernel

    @paused()
    def load(self, *, log_level: int = 0) -> LoadedProgram:
        """Load into the kernel, once: later calls give the same. ``log_level``: the verifier's bits 1, 2 and 4.

        Raises ``CompileError``, ``VerifierError``, ``PermissionDenied`` (a sentence that names the missing capability
        and the way out) or another ``BpfError``.
        """
        from pyebpf.session import load_program

        return load_program(self.__bpf__, log_level)

    @property
    def loaded(self) -> bool:
        """Whether it is in the kernel now."""
        from pyebpf.session import is_loaded

        return is_loaded(self.__bpf__)

    @property
    def log(self) -> str:
        """The verifier's log of the last load; empty without ``load(log_level=…)``."""
        return self.load().log

    @property
    def stats(self) -> RunStatistics:
        """How often it ran in the kernel (``run_cnt``), for how long (``run_time_ns``), how often it was left out since it
        was running already (``recursion_misses``), while ``with bpf.statistics():`` had counting on; and the instructions
        that the verifier went through (``verified_insns``)."""
        from pyebpf.runtime.listing import run_statistics

        return run_statistics(self.load())

    def run(
        self, data: bytes = b"", *, repeat: int = 1, context: bytes | None = None, machine: bool = False
    ) -> RunResult:
        """Run it on ``data``: verdict, output data, nanoseconds per run. In the kernel, through its test run; in the
        built-in machine where the process may not load programs (told once by a ``MachineWarning``), inside ``with
        bpf.machine():``, and with ``machine=True``.

        ``data`` is a whole frame, at least 14 bytes; the kernel strips the Ethernet header before a socket filter
        sees it. ``machine=True`` where the process uses the kernel is a machine for this one run: its maps are empty
        and forgotten. Raises ``NotSupported`` for kinds without a test run, unless the machine was asked for,
        ``TypeError`` for data that is no bytes and ``ValueError`` for data that the kind does not take.
        """
        from pyebpf.session import run_program

        return run_program(self.__bpf__, data, repeat=repeat, context=context, ask_machine=machine)

    def pin(self, path: str | Path) -> None:
        """Keep the loaded program under ``path`` of a BPF file system after this process ends."""
        self.load().pin(str(path))

    def close(self) -> None:
        """Unload: detach what this process attached and let go of the program. The next use loads it anew."""
        from pyebpf.session import close_program

        close_program(self.__bpf__)


class SocketFilter(Program):
    """A program that decides how many bytes of each packet a socket receives."""

    @paused()
    def attach(self, sock: socket.socket) -> Link:
        """Filter what ``sock`` receives until the link is closed. Raises ``TypeError`` for what is no socket."""
        if not callable(getattr(sock, "fileno", None)):
            raise TypeError(f"{self.name}.attach: a socket is wanted, not {type(sock).__name__}")
        from pyebpf.runtime.attach.socket import attach_socket
        from pyebpf.session import keep_link

        return keep_link(self.__bpf__, attach_socket(self.load(), sock))


class XdpProgram(Program):
    """A program that sees each frame right after it is received."""

    @paused()
    def attach(self, interface: str | int, *, mode: str | None = None) -> Link:
        """Attach to an interface (name or index). ``mode``: ``"native"``, ``"generic"`` or ``"offload"``."""
        from pyebpf.runtime.attach.xdp import XdpMode, attach_xdp
        from pyebpf.session import keep_link

        chosen = XdpMode.AUTO if mode is None else XdpMode(mode)
        return keep_link(self.__bpf__, attach_xdp(self.load(), interface, mode=chosen))


class TcProgram(Program):
    """A program at the ingress or egress of an interface."""

    @paused()
    def attach(self, interface: str | int, *, egress: bool | None = None, first: bool = False) -> Link:
        """Attach to an interface (name or index) behind the programs already there, or before them with ``first``.

        ``egress`` is needed only for programs made with ``@bpf.tc``, which name no direction.
        """
        from pyebpf.runtime.attach.tc import attach_tc
        from pyebpf.session import keep_link

        direction = _DIRECTION.get(self.__bpf__.kind.name, egress)
        if direction is None:
            raise TypeError(
                f"{self.name}.attach: say egress=True or egress=False, or use @bpf.tc_ingress / @bpf.tc_egress"
            )
        if egress is not None and egress != direction:
            raise ValueError(
                f"{self.name} is a {self.__bpf__.kind.name} program: egress={egress} contradicts that"
            )
        return keep_link(self.__bpf__, attach_tc(self.load(), interface, egress=direction, first=first))


_DIRECTION = {"tc_ingress": False, "tc_egress": True}


class SkSkbProgram(Program):
    """A program that parses or judges what the sockets of a sockmap receive."""

    @paused()
    def attach(self, sockets: SockMap) -> Link:
        """Attach to a sockmap; sockets put into it afterwards are covered."""
        from pyebpf.runtime.attach.sockmap import attach_sockmap
        from pyebpf.session import keep_link

        return keep_link(self.__bpf__, attach_sockmap(self.load(), sockets.live))
