"""What a kind of program is: the classes of the rows in ``pyebpf.uapi.programs`` and ``pyebpf.uapi.programs_tracing``."""

from __future__ import annotations

from pyebpf import enums
from pyebpf.records import dataclass, replace
from pyebpf.uapi.constants import AttachType, ProgLoadFlag, ProgType, SkAction, TcAction, XdpAction
from pyebpf.uapi.contexts import Context

NO_FLAGS = ProgLoadFlag(0)


class PacketAccess(enums.Enum):
    """What a program may do through pointers into the packet: ``may_access_direct_pkt_data()``."""

    NONE = "none"
    READ = "read"
    READ_WRITE = "read_write"


@dataclass(frozen=True, slots=True)
class KindOption:
    """A keyword of the decorator that changes how the program is loaded: ``@bpf.xdp(frags=True)``."""

    keyword: str
    section: str
    load_flags: ProgLoadFlag
    since: tuple[int, int]


class TargetKind(enums.Enum):
    """What the decorator of a kind names besides options; the value says it in messages."""

    NOTHING = "nothing"
    FUNCTION = "a kernel function"
    SYSCALL = "a system call"
    TRACEPOINT = "a tracepoint, as category and name"
    RAW_TRACEPOINT = "a tracepoint"
    LSM_HOOK = "a security hook"
    ITERATOR = "an iterator"
    USER_FUNCTION = "a file and a function in it"
    USDT = "a file and a probe in it, as provider and name"


class Arguments(enums.Enum):
    """Where a program's parameters come from, but for the context."""

    NONE = "none"  # there is only the context
    REGISTERS = "registers"  # the arguments of a probed function, by the calling convention
    RESULT = "result"  # what a probed function returned
    SYSCALL = "syscall"  # the arguments of a system call, wherever the kernel's entry function has them
    USDT = "usdt"  # the arguments of a probe in a program, wherever the loader says that they are
    SLOTS = "slots"  # eight bytes each, of types that the kernel does not tell
    BTF = "btf"  # eight bytes each, of the types that the kernel's type information has for the target
    BTF_RESULT = "btf_result"  # the same, and behind them what the function returned


@dataclass(frozen=True, slots=True)
class ProgramKind:
    """A kind of program.

    ``name`` is the decorator's. ``attach_type`` is what the program is loaded for, None where the kernel asks
    for none. ``error_verdict`` is what a program returns for an error that nobody handled. ``return_range``
    are the least and the greatest result that the verifier accepts, None where it accepts any;
    ``verdict_enum`` and ``verdicts`` name results: a kind has the one or the other. ``test_run`` tells
    whether ``BPF_PROG_TEST_RUN`` runs it. ``since`` is the first kernel release. ``target``: what the decorator names, which
    becomes part of the section; ``arguments``: what the parameters are. ``watches``: it only looks on, so that its result means
    nothing, and a function that returns nothing will do. ``gpl_only``: it is for GPL-compatible programs only.
    """

    name: str
    prog_type: ProgType
    attach_type: AttachType | None
    section: str
    context: Context | None
    error_verdict: int
    packet: PacketAccess
    test_run: bool
    since: tuple[int, int]
    verdict_enum: type[enums.IntEnum] | None = None
    verdicts: tuple[tuple[str, int], ...] = ()
    return_range: tuple[int, int] | None = None
    load_flags: ProgLoadFlag = NO_FLAGS
    options: tuple[KindOption, ...] = ()
    target: TargetKind = TargetKind.NOTHING
    arguments: Arguments = Arguments.NONE
    watches: bool = False
    gpl_only: bool = False

    @property
    def sleepable(self) -> bool:
        """Whether programs of this kind may sleep, and so call helpers that do."""
        return bool(self.load_flags & ProgLoadFlag.SLEEPABLE)

    def at(self, target: str) -> ProgramKind:
        """The row for programs that name their target: it stands in the section behind a slash."""
        return replace(self, section=f"{self.section}/{target}")

    def with_option(self, keyword: str) -> ProgramKind:
        """The row as the decorator's ``keyword`` changes it.

        Raises:
            LookupError: the kind has no such option.
        """
        for option in self.options:
            if option.keyword == keyword:
                return replace(
                    self,
                    section=option.section,
                    load_flags=self.load_flags | option.load_flags,
                    since=max(self.since, option.since),
                    options=tuple(o for o in self.options if o is not option),
                )
        raise LookupError(f"{self.name} has no option {keyword}")

    def verdict_name(self, value: int) -> str | None:
        """The name of a result, as users write it (``XDP_PASS``), if it has one."""
        named = self.verdicts
        if self.verdict_enum is not None:
            named = tuple((f"{_PREFIXES[self.verdict_enum]}{m.name}", int(m)) for m in self.verdict_enum)
        return next((name for name, number in named if number == value), None)


_PREFIXES: dict[type[enums.IntEnum], str] = {XdpAction: "XDP_", TcAction: "TC_ACT_", SkAction: "SK_"}
