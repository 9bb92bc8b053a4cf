"""What can go wrong between user space and the kernel, as exceptions: errno, phase and log, never a bare -1.

A ``BpfError`` is an ``OSError`` as well, so that ``except PermissionError`` and ``error.errno`` work as for
any other system call of Python. What is wrong with an *object*, before the kernel sees it, is an
``ObjectError``.
"""

from __future__ import annotations

import errno as errno_module
import os
from functools import cached_property

from pyebpf import enums
from pyebpf.diagnostics import PyebpfError
from pyebpf.hints import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Final

    from pyebpf.diagnostics import Diagnostic
    from pyebpf.runtime.rejection.source import Source

ENOTSUPP: Final = 524
"""An errno that is internal to the kernel but reaches user space from bpf(2); Python has no name for it."""


_SHOWN_LINES: Final = 40
"""How much of a log stands in the text of an exception: the end, where the reason is."""


class Phase(enums.Enum):
    """What was being done. The value completes "cannot …"."""

    BTF_LOAD = "load the type information"
    MAP_CREATE = "create the map"
    MAP_LOOKUP = "read from the map"
    MAP_UPDATE = "write to the map"
    MAP_DELETE = "delete from the map"
    MAP_ITERATE = "iterate over the map"
    MAP_FREEZE = "freeze the map"
    MAP_MMAP = "map the memory of the map"
    PROG_LOAD = "load the program"
    PROG_RUN = "run the program"
    OBJECT_INFO = "ask the kernel about the object"
    PIN = "pin"
    OPEN_PINNED = "open the pinned object"
    ATTACH = "attach the program"
    UPDATE_LINK = "replace the program of the link"
    DETACH = "detach the program"
    NETLINK = "configure the network interface"
    ENABLE_STATS = "switch run-time statistics on"
    TRACE = "read the trace pipe"
    TRACEFS = "use tracefs"
    SYMBOLS = "look symbols up"
    ITERATE = "read what the iterator gives"
    PERF_BUFFER = "open the perf buffer"


def errno_name(number: int) -> str:
    """``ENOENT`` for 2, and so on; ``ENOTSUPP`` for 524; ``errno 999`` for what has no name."""
    if number == ENOTSUPP:
        return "ENOTSUPP"
    return errno_module.errorcode.get(number, f"errno {number}")


def errno_text(number: int) -> str:
    """The C library's words for an errno."""
    return "Operation is not supported" if number == ENOTSUPP else os.strerror(number)


class BpfError(PyebpfError, OSError):
    """The kernel refused something.

    ``errno``: the number. ``phase``: what was being done. ``subject``: to which map, program or path.
    ``log``: the log of the verifier or of the BTF check, where there is one.
    """

    def __init__(
        self, errno: int, phase: Phase, subject: str = "", *, detail: str = "", log: str = ""
    ) -> None:
        self.phase = phase
        self.subject = subject
        self.detail = detail
        self.log = log
        super().__init__(errno, errno_text(errno))

    def __str__(self) -> str:
        subject = f" {self.subject}" if self.subject else ""
        number = self.errno or 0
        text = f"cannot {self.phase.value}{subject}: {errno_name(number)} ({errno_text(number)})"
        if self.detail:
            text += f": {self.detail}"
        lines = self.log.rstrip().splitlines()
        if len(lines) > _SHOWN_LINES:
            text += f"\n({len(lines) - _SHOWN_LINES} lines before these are in `.log`)"
        return "\n".join([text, *lines[-_SHOWN_LINES:]])


class PermissionDenied(BpfError, PermissionError):
    """EPERM. The message says in one sentence what is missing: a capability, a sysctl, kernel lockdown, …"""


class NotSupported(BpfError):
    """This kernel, or this kind of object, does not have the operation."""


class Problem(enums.Enum):
    """Why nothing can be attached to a target."""

    UNKNOWN = "unknown"  # there is nothing of this name
    NOT_A_FUNCTION = "not a function"  # the name is that of a variable
    INLINED = "inlined"  # the compiler left only variants of the function, or copies inside others
    AMBIGUOUS = "ambiguous"  # several functions have the name
    BLACKLISTED = "blacklisted"  # the kernel forbids probes there
    NOTRACE = "notrace"  # the function is compiled without a place for probes
    BAD_OFFSET = "bad offset"  # outside the function, or inside an instruction
    CHOSEN_AT_RUN_TIME = "chosen at run time"  # the symbol's code only chooses among functions
    ARGUMENTS = "arguments"  # the program takes others than the place has, or some that it cannot read


class TargetError(BpfError):
    """What a program was to be attached to is not there, or takes no program.

    ``problem``: in what way. ``suggestions``: names that may have been meant, at most four.
    """

    def __init__(
        self,
        problem: Problem,
        subject: str,
        *,
        detail: str,
        suggestions: tuple[str, ...] = (),
        errno: int = errno_module.ENOENT,
    ) -> None:
        self.problem = problem
        self.suggestions = suggestions
        if suggestions:
            detail += f"; did you mean {' or '.join(suggestions)}?"
        super().__init__(errno, Phase.ATTACH, subject, detail=detail)


class VerifierError(BpfError):
    """The verifier refused a program.

    ``program``: its name. ``log``: all that the verifier wrote. ``source``: where its instructions come from, as far as
    it has debug information. The text is the diagnostic, and how to see the log.
    """

    tells_all = True

    def __init__(self, errno: int, program: str, log: str, source: Source | None = None) -> None:
        self.program = program
        self.source = source
        super().__init__(errno, Phase.PROG_LOAD, repr(program), log=log)

    @cached_property
    def diagnostic(self) -> Diagnostic:
        """What the log says, in terms of the program's source. It is worked out when it is first asked for."""
        from pyebpf.runtime.rejection.explain import explain
        from pyebpf.runtime.rejection.source import Source

        return explain(self.log, self.source or Source(self.program), advice=self.detail)

    def __str__(self) -> str:
        from pyebpf.diagnostics import render
        from pyebpf.runtime.rejection.source import Source

        source = self.source or Source(self.program)
        where = "`.log` of this exception holds the verifier's whole log"
        if source.ours and os.path.isfile(source.lines[0].file):
            where += f"; `pyebpf log {source.lines[0].file} {self.program}` shows it beside the Python lines"
        refused = f"cannot load the program {self.subject}: {errno_name(self.errno or 0)}"
        return f"{render(self.diagnostic)}\n\n{refused}; {where}"

    def _render_traceback_(self) -> list[str]:
        """What IPython and notebooks show instead of a traceback."""
        from pyebpf.diagnostics import paint

        return [paint(text) for text in str(self).splitlines()]


class ObjectError(PyebpfError):
    """The object cannot be loaded as it is: an undefined symbol, a map that does not match, a missing
    function."""


class UnsupportedObject(ObjectError):
    """The object needs something that this loader does not do."""


class CoreError(ObjectError):
    """A reference to the kernel's types (CO-RE) that cannot be filled in: it is malformed, does not fit its instruction,
    or means different things in types of one name."""


class NotInKernel(PyebpfError):
    """A descriptor, a pin or an attachment was asked of something that lives in the built-in machine, not in the
    kernel."""


class LoadWarning(UserWarning):
    """Loading went on without something, such as type information that this kernel refused."""


class LostEvents(UserWarning):
    """A perf buffer was full, and events were lost before user space took them."""
