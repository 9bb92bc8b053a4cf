"""What code is compiled for, as plain data: instruction set, kernel, byte order."""

from __future__ import annotations

from pyebpf import enums
from pyebpf.hints import TYPE_CHECKING, Protocol
from pyebpf.records import dataclass

if TYPE_CHECKING:
    from pyebpf import btf
    from pyebpf.uapi.contexts import Context


class Isa(enums.IntEnum):
    """The levels of the BPF instruction set (LLVM's ``-mcpu``).

    v1 the base; v2 adds the unsigned and signed less-than jumps (4.14); v3 the 32-bit ALU and jumps (5.1);
    v4 signed division, sign-extending moves and loads, byte swap and long jumps (6.6).
    """

    V1 = 1
    V2 = 2
    V3 = 3
    V4 = 4


class Arch(enums.Enum):
    """The architectures that tracing programs can be compiled for; the value is what ``uname -m`` prints."""

    X86_64 = "x86_64"
    ARM64 = "aarch64"


@dataclass(frozen=True, slots=True)
class Target:
    """A kernel to compile for. ``kernel`` is the oldest release that must accept the program, as (major, minor).

    ``arch`` matters to programs that look at registers.
    """

    isa: Isa = Isa.V3
    kernel: tuple[int, int] = (6, 1)
    little_endian: bool = True
    arch: Arch = Arch.X86_64

    @property
    def byteorder(self) -> str:
        """``"little"`` or ``"big"``, as Python's ``struct`` and ``int`` functions take it."""
        return "little" if self.little_endian else "big"


class TargetFacts(Protocol):
    """What is known of the kernel that a program is compiled for, beyond its release; asked for when it is needed."""

    def types(self) -> btf.Spec | None:
        """The kernel's types; ``None`` where they are not known."""

    def tracepoint(self, category: str, name: str) -> Context | None:
        """The fields of an event, as the context of programs on it; ``None`` where the event or its fields are not
        known."""

    def tracepoints(self) -> list[str]:
        """The events, as ``category/name``: for suggestions. Empty where they are not known."""
