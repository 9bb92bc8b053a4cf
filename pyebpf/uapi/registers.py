"""The registers of a probed function (``struct pt_regs``), per architecture: names, offsets, calling conventions.

They are the context of kprobes and uprobes, and the first part of that of ``perf_event`` programs. Offsets are those
of the layout that programs see: x86-64's ``struct pt_regs``, arm64's ``struct user_pt_regs`` (with ``orig_x0`` behind
it, which system calls need).

Source: arch/x86/include/asm/ptrace.h, arch/arm64/include/{uapi/,}asm/ptrace.h of Linux 6.18; the System V ABI and
the procedure call standard of Arm for arguments and results; Documentation/userspace-api for system calls.
"""

from __future__ import annotations

from pyebpf.records import dataclass
from pyebpf.target import Arch
from pyebpf.uapi.constants import ProgType
from pyebpf.uapi.contexts import ANY_WIDTH, Context, ContextField

_PROBES = frozenset({ProgType.KPROBE})
_SAMPLES = frozenset({ProgType.PERF_EVENT})


@dataclass(frozen=True, slots=True)
class Registers:
    """An architecture's registers, by the names of their fields.

    ``context``: ``struct pt_regs`` as the context of kprobes and uprobes; ``sample``: ``struct bpf_perf_event_data``.
    ``arguments`` and ``result`` follow the C calling convention, ``syscall_arguments`` that of system calls (read
    from the registers that the caller of the system call had).
    """

    context: Context
    sample: Context
    arguments: tuple[str, ...]
    result: str
    syscall_arguments: tuple[str, ...]

    def field(self, name: str) -> ContextField:
        """The row of a register that is known to exist."""
        row = self.context.field(name)
        assert row is not None, name
        return row


def _rows(names: str, types: frozenset[ProgType]) -> tuple[ContextField, ...]:
    """A row of eight bytes for each of ``names``, one behind the other."""
    return tuple(
        ContextField(name, 8 * number, 8, types, read_widths=ANY_WIDTH)
        for number, name in enumerate(names.split())
    )


def _sampled(names: str, size: int) -> tuple[ContextField, ...]:
    return (
        *_rows(names, _SAMPLES),
        ContextField("sample_period", size, 8, _SAMPLES, read_widths=frozenset({8})),
        ContextField("addr", size + 8, 8, _SAMPLES, read_widths=frozenset({8})),
    )


def _contexts(names: str) -> tuple[Context, Context]:
    size = 8 * len(names.split())
    return (
        Context("pt_regs", size, lambda: _rows(names, _PROBES)),
        Context("bpf_perf_event_data", size + 16, lambda: _sampled(names, size)),
    )


_X86_64 = "r15 r14 r13 r12 bp bx r11 r10 r9 r8 ax cx dx si di orig_ax ip cs flags sp ss"
_ARM64 = " ".join([*(f"x{n}" for n in range(31)), "sp", "pc", "pstate"])

X86_64 = Registers(
    *_contexts(_X86_64),
    arguments=("di", "si", "dx", "cx", "r8", "r9"),
    result="ax",
    syscall_arguments=("di", "si", "dx", "r10", "r8", "r9"),
)

ARM64 = Registers(
    *_contexts(_ARM64),
    arguments=tuple(f"x{n}" for n in range(8)),
    result="x0",
    syscall_arguments=tuple(f"x{n}" for n in range(6)),
)

REGISTERS: dict[Arch, Registers] = {Arch.X86_64: X86_64, Arch.ARM64: ARM64}
