"""Machine IR: BPF instructions over virtual registers, in SSA form with block parameters.

Instruction selection makes it, register allocation rewrites it to r0…r10, emission turns it into bytes. The
allocator sees only what is declared here: operands with constraints, clobbers, moves, rematerialisable
constants, block parameters and frame slots; never an opcode's meaning.

Registers: r0 result, r1–r5 arguments (lost at calls), r6–r9 preserved, r10 the frame pointer (read-only, never
allocated; frame slots are addressed through it).
"""

from __future__ import annotations

from collections.abc import Iterator

from pyebpf import enums
from pyebpf.backend.insn import LD_IMM64, Class
from pyebpf.btf.access import CoreKind
from pyebpf.diagnostics import Span
from pyebpf.ir.ops import Function
from pyebpf.object import RelocKind
from pyebpf.records import dataclass, field

ALLOCATABLE = tuple(range(10))
CALL_CLOBBERED = frozenset(range(6))
CALLEE_SAVED = frozenset(range(6, 10))
FRAME_POINTER = 10
MAX_ARGUMENTS = 5  # in r1 to r5


@dataclass(frozen=True, slots=True)
class VReg:
    """A virtual register: defined once, by an instruction or as a block parameter. ``name`` is a hint for printing."""

    id: int
    name: str = field(default="", compare=False)

    def __str__(self) -> str:
        return f"v{self.id}"


@dataclass(frozen=True, slots=True)
class PReg:
    """A physical register, after allocation."""

    number: int

    def __str__(self) -> str:
        return f"r{self.number}"


Reg = VReg | PReg


class Role(enums.Enum):
    """Whether an instruction reads or writes an operand."""

    USE = "use"
    DEF = "def"


@dataclass(frozen=True, slots=True)
class Operand:
    """A register operand and what the allocator must respect.

    ``fixed``: it must be in this register. ``reuse``: a definition that must be in the register of the operand with
    this index (two-address instructions: ``dst = dst op src``). ``early``: a definition that is written before the
    uses are read, so it may not share a register with any of them.
    """

    reg: Reg
    role: Role
    fixed: int | None = None
    reuse: int | None = None
    early: bool = False


@dataclass(eq=False, slots=True)
class FrameSlot:
    """Bytes of the stack frame: an alloca or a spill slot. ``offset`` (negative, from r10) is set when the frame is laid out.
    ``span``: the source of an alloca."""

    size: int
    align: int
    label: str = ""
    offset: int | None = None
    span: Span | None = None


@dataclass(frozen=True, slots=True)
class Symbol:
    """What a relocation of the instruction will put in."""

    kind: RelocKind
    name: str
    section: str = ""
    addend: int = 0


@dataclass(frozen=True, slots=True)
class CoreSymbol:
    """What a CO-RE relocation of the instruction says; ``root`` is a key of ``Module.core_types``. The instruction holds
    the number that is right for the kernel whose types the program was compiled with."""

    kind: CoreKind
    root: str
    access: str


@dataclass(eq=False, slots=True)
class MachineInsn:
    """One BPF instruction with register operands left open.

    ``opcode``, ``offset`` and ``imm`` are the encoding's fields (``imm`` has 64 bits for ``ld_imm64``);
    ``dst`` and ``src`` are indexes into ``operands``, or ``None`` where the field is 0; ``src_field`` is a
    constant in the src field (pseudo sources, call kinds). ``frame``: the slot whose offset is added to
    ``offset`` (loads, stores) or to ``imm`` (address computation: ``alu64 add imm`` without uses, emitted as
    ``dst = r10; dst += imm``), with r10 as the address register unless an operand is: ``frame_is_dst`` tells
    which field that is. ``move``: it copies operand 1 to operand 0 in full, and may be coalesced away.
    ``remat``: it has no uses and no effects, so it may be repeated instead of spilled. ``commutative``: the
    operand that the result is tied to (``reuse``) and the other use may change places. Jumps name no target
    here: see ``MachineBlock``.
    """

    opcode: int
    operands: tuple[Operand, ...] = ()
    dst: int | None = None
    src: int | None = None
    src_field: int = 0
    offset: int = 0
    imm: int = 0
    frame: FrameSlot | None = None
    frame_is_dst: bool = False
    symbol: Symbol | CoreSymbol | None = None
    clobbers: frozenset[int] = frozenset()
    move: bool = False
    remat: bool = False
    commutative: bool = False
    span: Span | None = None
    comment: str = ""

    @property
    def slots(self) -> int:
        """How many 8-byte slots of code it takes: 2 for ``ld_imm64`` and for the address of a frame slot."""
        is_address = self.frame is not None and self.opcode & 0x07 in (Class.ALU, Class.ALU64)
        return 2 if self.opcode == LD_IMM64 or is_address else 1

    def uses(self) -> Iterator[Operand]:
        """The operands that it reads."""
        return (o for o in self.operands if o.role is Role.USE)

    def defs(self) -> Iterator[Operand]:
        """The operands that it writes."""
        return (o for o in self.operands if o.role is Role.DEF)


@dataclass(eq=False, slots=True)
class Edge:
    """Control flow to ``target``, giving ``args`` to its parameters (a parallel move)."""

    target: MachineBlock
    args: tuple[Reg, ...] = ()


@dataclass(eq=False, slots=True)
class MachineBlock:
    """A basic block. The last instruction is an exit, or a conditional jump to ``edges[0]`` that falls to ``edges[1]``,
    or there is none and control goes to ``edges[0]`` (layout decides whether that needs a jump). Critical edges are
    split: a block with two edges goes only to blocks with one predecessor, and those take no parameters."""

    name: str
    params: tuple[Reg, ...] = ()
    insns: list[MachineInsn] = field(default_factory=list)
    edges: tuple[Edge, ...] = ()
    unlikely: bool = False


@dataclass(eq=False, slots=True)
class MachineFunction:
    """A function on its way to bytes. ``params`` are the virtual registers that start in r1… in order (each is a block
    parameter of the entry block, fixed by the calling convention). ``source`` is the SSA it came from."""

    name: str
    params: tuple[Reg, ...]
    blocks: list[MachineBlock]
    source: Function
    slots: list[FrameSlot] = field(default_factory=list)
    next_vreg: int = 0

    def new_vreg(self, name: str = "") -> VReg:
        """A fresh virtual register."""
        self.next_vreg += 1
        return VReg(self.next_vreg - 1, name)
