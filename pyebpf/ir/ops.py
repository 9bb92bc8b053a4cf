"""The operations of the SSA, one final dataclass each, and the blocks, functions and module that hold them.

Every operation is a ``Value``; operands are other values, named by ``OPERANDS`` so that passes can walk and
replace them without knowing the class. Each docstring shows the textual form (``pyebpf.ir.text`` prints and
parses it). ``EFFECTS`` says what may not be reordered, removed or merged.

Contract with the verifier that all passes keep: a pointer that was bounds-checked is the pointer that is
used (no re-association of ``PtrAdd``, no second computation of ``packet + variable``), and an integer that
was checked is the integer that is used.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from pyebpf import enums
from pyebpf.diagnostics import Span
from pyebpf.hints import TYPE_CHECKING, ClassVar, final
from pyebpf.ir.types import I1, I64, VOID, IntTy, IRType, PtrTy, Space
from pyebpf.layout import Layout
from pyebpf.object import DataSection, Extern, MapSpec
from pyebpf.records import dataclass, field
from pyebpf.uapi.programs import ProgramKind

if TYPE_CHECKING:
    from typing import Final

    from pyebpf import btf


class Effects(enums.Flag):
    """What an operation does besides giving a value. ``NONE`` may be merged, moved later and removed."""

    NONE = 0
    READS = enums.auto()  # reads memory: may be removed, may not pass a write that could alias
    WRITES = enums.auto()  # writes memory or the world: stays, in order
    PINNED = enums.auto()  # depends on control flow: may be removed, may not leave its block
    TERMINATES = enums.auto()  # ends a block


@dataclass(eq=False, slots=True)
class Value:
    """Anything that an operand may be. ``name`` is a hint for printing, usually the user's variable."""

    OPERANDS: ClassVar[tuple[str, ...]] = ()
    EFFECTS: ClassVar[Effects] = Effects.NONE

    type: IRType = field(default=VOID, kw_only=True)
    span: Span | None = field(default=None, kw_only=True)
    name: str = field(default="", kw_only=True)

    def operands(self) -> Iterator[Value]:
        """Every operand, in order, tuples flattened."""
        for attribute in self.OPERANDS:
            operand = getattr(self, attribute)
            if isinstance(operand, tuple):
                yield from operand
            elif operand is not None:
                yield operand

    def map_operands(self, change: Callable[[Value], Value]) -> None:
        """Replace every operand by ``change(operand)``."""
        for attribute in self.OPERANDS:
            operand = getattr(self, attribute)
            if isinstance(operand, tuple):
                setattr(self, attribute, tuple(change(o) for o in operand))
            elif operand is not None:
                setattr(self, attribute, change(operand))


# ---------------------------------------------------------------- values without an operation


@final
@dataclass(eq=False, slots=True)
class Param(Value):
    """The ``index``-th parameter of the function; listed in ``Function.params``, in no block."""

    index: int


@final
@dataclass(eq=False, slots=True)
class Const(Value):
    """``%1 = const i64 42``: an integer, or the null pointer (value 0 of a nullable pointer type). Two's
    complement: 0 <= value < 2**bits."""

    value: int


@final
@dataclass(eq=False, slots=True)
class Undef(Value):
    """``%1 = undef i64``: a value that no path reads (a phi input of a variable that is dead there)."""


@final
@dataclass(eq=False, slots=True)
class Phi(Value):
    """``%3 = phi i64 [entry: %1, loop: %2]``: one value for each predecessor; phis come first in a block."""

    EFFECTS: ClassVar[Effects] = Effects.PINNED

    incoming: dict[Block, Value] = field(default_factory=dict)

    def operands(self) -> Iterator[Value]:
        yield from self.incoming.values()

    def map_operands(self, change: Callable[[Value], Value]) -> None:
        self.incoming = {block: change(value) for block, value in self.incoming.items()}


# ---------------------------------------------------------------- integers


class BinOp(enums.Enum):
    """Two's complement arithmetic of the operands' width. Division by zero is excluded by a check before it;
    a shift count is below the width."""

    ADD = "add"
    SUB = "sub"
    MUL = "mul"
    UDIV = "udiv"
    UREM = "urem"
    SDIV = "sdiv"  # truncates, as the instruction does
    SREM = "srem"
    AND = "and"
    OR = "or"
    XOR = "xor"
    SHL = "shl"
    LSHR = "lshr"
    ASHR = "ashr"


@final
@dataclass(eq=False, slots=True)
class Binary(Value):
    """``%3 = add i64 %1, %2``: both operands and the result have the same integer type (i32 or i64; also
    and/or/xor of i1)."""

    OPERANDS: ClassVar[tuple[str, ...]] = ("left", "right")

    op: BinOp
    left: Value
    right: Value


@final
@dataclass(eq=False, slots=True)
class Neg(Value):
    """``%2 = neg i64 %1``."""

    OPERANDS: ClassVar[tuple[str, ...]] = ("operand",)

    operand: Value


@final
@dataclass(eq=False, slots=True)
class ByteSwap(Value):
    """``%2 = bswap.16 i64 %1``: reverses the low ``bits`` (16, 32, 64) and zeroes the rest."""

    OPERANDS: ClassVar[tuple[str, ...]] = ("operand",)

    bits: int
    operand: Value


class Pred(enums.Enum):
    """The relation that a comparison tests. ``TEST``: ``left & right`` is not zero."""

    EQ = "eq"
    NE = "ne"
    ULT = "ult"
    ULE = "ule"
    UGT = "ugt"
    UGE = "uge"
    SLT = "slt"
    SLE = "sle"
    SGT = "sgt"
    SGE = "sge"
    TEST = "test"


@final
@dataclass(eq=False, slots=True)
class Cmp(Value):
    """``%3 = cmp ult %1, %2``: i1. Operands are two integers of one type, two packet pointers, or a nullable
    pointer and the null constant (only EQ and NE)."""

    OPERANDS: ClassVar[tuple[str, ...]] = ("left", "right")

    pred: Pred
    left: Value
    right: Value

    def __post_init__(self) -> None:
        self.type = I1


@final
@dataclass(eq=False, slots=True)
class Trunc(Value):
    """``%2 = trunc i32 %1``: the low half of an i64."""

    OPERANDS: ClassVar[tuple[str, ...]] = ("operand",)

    operand: Value


@final
@dataclass(eq=False, slots=True)
class Zext(Value):
    """``%2 = zext.8 i64 %1``: keeps the low ``bits`` (1, 8, 16, 32) of the operand and zeroes the rest.

    From an i32 operand with ``bits`` 32 it is the widening that costs nothing after a 32-bit operation; from
    i1 it makes 0 or 1."""

    OPERANDS: ClassVar[tuple[str, ...]] = ("operand",)

    bits: int
    operand: Value


@final
@dataclass(eq=False, slots=True)
class Sext(Value):
    """``%2 = sext.16 i64 %1``: takes the low ``bits`` (8, 16, 32) of the operand as a signed number."""

    OPERANDS: ClassVar[tuple[str, ...]] = ("operand",)

    bits: int
    operand: Value


# ---------------------------------------------------------------- pointers and memory


@final
@dataclass(eq=False, slots=True)
class Alloca(Value):
    """``%1 = alloca 16 align 8 "key"``: ``size`` bytes of this function's stack frame, contents undefined; in
    the entry block only. Type ``ptr<stack:size>``."""

    EFFECTS: ClassVar[Effects] = Effects.PINNED

    size: int
    align: int
    label: str = ""

    def __post_init__(self) -> None:
        self.type = PtrTy(Space.STACK, self.size)


@final
@dataclass(eq=False, slots=True)
class PtrAdd(Value):
    """``%3 = ptradd ptr<map_value:4> %1, %2``: a pointer ``offset`` (i64) bytes further, in the same space.
    ``size`` of its type is what may be accessed from there."""

    OPERANDS: ClassVar[tuple[str, ...]] = ("base", "offset")

    base: Value
    offset: Value


@final
@dataclass(eq=False, slots=True)
class NonNull(Value):
    """``%2 = nonnull ptr<map_value:8> %1``: the same pointer, known not to be null on this path. Costs
    nothing."""

    OPERANDS: ClassVar[tuple[str, ...]] = ("pointer",)
    EFFECTS: ClassVar[Effects] = Effects.PINNED

    pointer: Value


@final
@dataclass(eq=False, slots=True)
class Load(Value):
    """``%2 = load.2 i64 %1 + 4`` (``loads.2`` where ``signed``): ``width`` bytes at ``pointer + offset``,
    zero- or sign-extended to the result type.

    The result may be a pointer: from a context field (``%2 = load.4 ptr<packet> %ctx + 76``) or from an
    8-byte stack slot that a pointer was stored to."""

    OPERANDS: ClassVar[tuple[str, ...]] = ("pointer",)
    EFFECTS: ClassVar[Effects] = Effects.READS

    pointer: Value
    offset: int
    width: int
    signed: bool = False


@final
@dataclass(eq=False, slots=True)
class Store(Value):
    """``store.2 %1 + 4, %2``: the low ``width`` bytes of ``value`` to ``pointer + offset``."""

    OPERANDS: ClassVar[tuple[str, ...]] = ("pointer", "value")
    EFFECTS: ClassVar[Effects] = Effects.WRITES

    pointer: Value
    offset: int
    width: int
    value: Value


@final
@dataclass(eq=False, slots=True)
class MemZero(Value):
    """``memzero %1 + 0, 24 align 8``: zeroes ``size`` bytes; ``align`` is that of ``pointer + offset``."""

    OPERANDS: ClassVar[tuple[str, ...]] = ("pointer",)
    EFFECTS: ClassVar[Effects] = Effects.WRITES

    pointer: Value
    offset: int
    size: int
    align: int


@final
@dataclass(eq=False, slots=True)
class MemCopy(Value):
    """``memcopy %1 + 0, %2 + 8, 16 align 4``: copies ``size`` bytes to ``target + target_offset`` from
    ``source + source_offset``; ``align`` holds for both sides; the two do not overlap, or are the same."""

    OPERANDS: ClassVar[tuple[str, ...]] = ("target", "source")
    EFFECTS: ClassVar[Effects] = Effects.READS | Effects.WRITES

    target: Value
    target_offset: int
    source: Value
    source_offset: int
    size: int
    align: int


class AtomicOp(enums.Enum):
    """Read-modify-write operations of the instruction set."""

    ADD = "add"
    AND = "and"
    OR = "or"
    XOR = "xor"


@final
@dataclass(eq=False, slots=True)
class Atomic(Value):
    """``atomic_add.8 %1 + 0, %2``: atomically changes ``width`` (4 or 8) bytes at ``pointer + offset``; no
    result."""

    OPERANDS: ClassVar[tuple[str, ...]] = ("pointer", "value")
    EFFECTS: ClassVar[Effects] = Effects.READS | Effects.WRITES

    op: AtomicOp
    pointer: Value
    offset: int
    width: int
    value: Value


# ---------------------------------------------------------------- symbols


@final
@dataclass(eq=False, slots=True)
class MapRef(Value):
    """``%1 = map @packets``: the map itself, for helpers. Type ``ptr<map>``."""

    map: str

    def __post_init__(self) -> None:
        self.type = PtrTy(Space.MAP)


@final
@dataclass(eq=False, slots=True)
class GlobalRef(Value):
    """``%1 = global ptr<global:5> ".rodata" "greeting"``: the address of a variable of a data section."""

    section: str
    variable: str


@final
@dataclass(eq=False, slots=True)
class FuncRef(Value):
    """``%1 = func @body``: the address of a callback. Type ``ptr<func>``."""

    function: str

    def __post_init__(self) -> None:
        self.type = PtrTy(Space.FUNC)


@final
@dataclass(eq=False, slots=True)
class ExternRef(Value):
    """``%1 = extern ptr<global:4> @CONFIG_HZ``: the address of what the loader knows by that name: a value of the kernel's
    configuration, or a variable of the kernel."""

    extern: str


# ---------------------------------------------------------------- the kernel's own structs
#
# Where a field lies differs between kernels, so what is said of it here holds for the kernel whose types the program was
# compiled with, and a CO-RE relocation lets loaders adapt it. ``root`` is the key of a type in ``Module.core_types``,
# ``access`` the way from there (``pyebpf.btf.access``).


@final
@dataclass(eq=False, slots=True)
class CoreValue(Value):
    """``%1 = core.2 "struct task_struct" "0:3" 1``: a number that depends on the kernel: whether a field or type exists,
    its size, the value of an enumerator. ``kind`` is a ``pyebpf.btf.CoreKind``; ``value`` holds here."""

    kind: int
    root: str
    access: str
    value: int

    def __post_init__(self) -> None:
        self.type = I64


@final
@dataclass(eq=False, slots=True)
class CoreAddress(Value):
    """``%2 = core_address i64 %1 "struct task_struct" "0:3" + 24``: the address of a field of the struct at ``base``,
    which is a number or a pointer to a kernel object, as the result is. Without ``root`` it is ``offset`` bytes further; from
    a context the result is a number then."""

    OPERANDS: ClassVar[tuple[str, ...]] = ("base",)

    base: Value
    root: str
    access: str
    offset: int


@final
@dataclass(eq=False, slots=True)
class KernelLoad(Value):
    """``%2 = kload.4 i64 %1 "struct task_struct" "0:3" + 24`` (``kloads.4`` where ``signed``): reads a field of a kernel
    object through a pointer that the verifier knows; 0 where the pointer is null or wild. Without ``root`` it reads at the
    pointer itself. The result may be a pointer to a further object."""

    OPERANDS: ClassVar[tuple[str, ...]] = ("pointer",)
    EFFECTS: ClassVar[Effects] = Effects.READS

    pointer: Value
    root: str
    access: str
    offset: int
    width: int
    signed: bool = False


# ---------------------------------------------------------------- calls


@final
@dataclass(eq=False, slots=True)
class CallHelper(Value):
    """``%3 = helper map_lookup_elem(%1, %2): ptr<map_value:8?>``: a call of the helper with UAPI number
    ``helper``; its row in ``pyebpf.uapi.helpers`` says what it reads, writes and invalidates."""

    OPERANDS: ClassVar[tuple[str, ...]] = ("args",)
    EFFECTS: ClassVar[Effects] = Effects.READS | Effects.WRITES

    helper: int
    args: tuple[Value, ...]


@final
@dataclass(eq=False, slots=True)
class CallKfunc(Value):
    """``%2 = kfunc bpf_strcmp(%1): i64``: a call of a kernel function by name (its prototype is an extern of
    the module)."""

    OPERANDS: ClassVar[tuple[str, ...]] = ("args",)
    EFFECTS: ClassVar[Effects] = Effects.READS | Effects.WRITES

    kfunc: str
    args: tuple[Value, ...]


@final
@dataclass(eq=False, slots=True)
class Call(Value):
    """``%2 = call @parse(%1): i64``: a call of another function of the module, at most five arguments."""

    OPERANDS: ClassVar[tuple[str, ...]] = ("args",)
    EFFECTS: ClassVar[Effects] = Effects.READS | Effects.WRITES

    function: str
    args: tuple[Value, ...]


# ---------------------------------------------------------------- terminators


@final
@dataclass(eq=False, slots=True)
class Jump(Value):
    """``jump loop``."""

    EFFECTS: ClassVar[Effects] = Effects.TERMINATES

    target: Block


@final
@dataclass(eq=False, slots=True)
class Branch(Value):
    """``branch %1, then, else``: on an i1. ``unlikely`` marks a ``then`` block that handles an error and is
    laid out last."""

    OPERANDS: ClassVar[tuple[str, ...]] = ("condition",)
    EFFECTS: ClassVar[Effects] = Effects.TERMINATES

    condition: Value
    then: Block
    otherwise: Block
    unlikely: bool = False


@final
@dataclass(eq=False, slots=True)
class CompareBranch(Value):
    """``if ult %1, %2, then, else``: a comparison and the branch on it in one, made by compare-and-branch
    fusion."""

    OPERANDS: ClassVar[tuple[str, ...]] = ("left", "right")
    EFFECTS: ClassVar[Effects] = Effects.TERMINATES

    pred: Pred
    left: Value
    right: Value
    then: Block
    otherwise: Block
    unlikely: bool = False


@final
@dataclass(eq=False, slots=True)
class Return(Value):
    """``return %1`` (or ``return``, from a void function)."""

    OPERANDS: ClassVar[tuple[str, ...]] = ("value",)
    EFFECTS: ClassVar[Effects] = Effects.TERMINATES

    value: Value | None = None


@final
@dataclass(eq=False, slots=True)
class Unreachable(Value):
    """``unreachable``: control never comes here (after a proof, never by assumption)."""

    EFFECTS: ClassVar[Effects] = Effects.TERMINATES


Op = (
    Const
    | Undef
    | Phi
    | Binary
    | Neg
    | ByteSwap
    | Cmp
    | Trunc
    | Zext
    | Sext
    | Alloca
    | PtrAdd
    | NonNull
    | Load
    | Store
    | MemZero
    | MemCopy
    | Atomic
    | MapRef
    | GlobalRef
    | FuncRef
    | ExternRef
    | CoreValue
    | CoreAddress
    | KernelLoad
    | CallHelper
    | CallKfunc
    | Call
    | Jump
    | Branch
    | CompareBranch
    | Return
    | Unreachable
)
Terminator = Jump | Branch | CompareBranch | Return | Unreachable
TERMINATORS: Final = (Jump, Branch, CompareBranch, Return, Unreachable)


# ---------------------------------------------------------------- containers


@dataclass(eq=False, slots=True)
class Block:
    """A basic block: phis, then operations, then exactly one terminator."""

    name: str
    ops: list[Op] = field(default_factory=list)

    @property
    def terminator(self) -> Terminator:
        """The last operation."""
        last = self.ops[-1]
        assert isinstance(last, TERMINATORS), f"block {self.name} does not end with a terminator"
        return last

    def successors(self) -> tuple[Block, ...]:
        """The blocks that control may go to next, each once, in order."""
        match self.terminator:
            case Jump(target=target):
                return (target,)
            case Branch(then=then, otherwise=otherwise) | CompareBranch(then=then, otherwise=otherwise):
                return (then,) if then is otherwise else (then, otherwise)
            case _:
                return ()

    def phis(self) -> list[Phi]:
        """The phis at the start of the block."""
        return [op for op in self.ops if isinstance(op, Phi)]


class FunctionRole(enums.Enum):
    """What a function is to the kernel."""

    ENTRY = "entry"  # a program: one context parameter, the verdict as result
    SUBPROGRAM = "subprogram"  # called by ``Call``; static linkage
    CALLBACK = "callback"  # called by the kernel through ``FuncRef``; static linkage
    GLOBAL = "global"  # called by ``Call``; verified on its own


class Inlining(enums.Enum):
    """What the user asked of the inliner."""

    AUTO = "auto"
    ALWAYS = "always"
    NEVER = "never"


@dataclass(frozen=True, slots=True)
class ParamInfo:
    """The source side of a parameter, for BTF: its name and, where it has one, its layout (a pointer to it if
    ``pointer``)."""

    name: str
    layout: Layout | None = None
    pointer: bool = False


@dataclass(eq=False, slots=True)
class Function:
    """A function in SSA form. ``blocks[0]`` is the entry, which has no predecessors."""

    name: str
    params: list[Param]
    result: IRType
    blocks: list[Block]
    role: FunctionRole
    span: Span
    kind: ProgramKind | None = None  # for ENTRY: the row of the program-type table
    inlining: Inlining = Inlining.AUTO
    param_infos: tuple[ParamInfo, ...] = ()  # parallel to ``params``
    result_layout: Layout | None = None  # BTF's return type; ``int`` where None
    arguments: tuple[int, ...] = ()  # for ENTRY on a USDT probe: the arguments that it reads, by number

    @property
    def entry(self) -> Block:
        """The block where the function starts."""
        return self.blocks[0]

    def ops(self) -> Iterator[Op]:
        """Every operation, in block order."""
        for block in self.blocks:
            yield from block.ops


@dataclass(eq=False, slots=True)
class Module:
    """Everything that one object file is made of."""

    functions: dict[str, Function] = field(default_factory=dict)
    maps: dict[str, MapSpec] = field(default_factory=dict)
    data: dict[str, DataSection] = field(default_factory=dict)
    license: str = ""
    externs: dict[str, Extern] = field(default_factory=dict)
    core_types: dict[str, btf.Type] = field(default_factory=dict)
    """The kernel's types that CO-RE operations name."""


def const(value: int, type: IntTy = I64, span: Span | None = None) -> Const:
    """The integer constant ``value``, reduced to the width of ``type``."""
    return Const(value & ((1 << type.bits) - 1), type=type, span=span)
