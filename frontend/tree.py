"""The typed tree: a small core language in which everything that Python leaves implicit is written out.

``frontend.infer`` makes it from the syntax tree (names resolved, constants folded, types and conversions decided,
sugar removed, every refusal already reported); ``frontend.build`` lowers it to SSA; the reference evaluator in the
tests defines what it means. Both consumers ``match`` over these classes with ``assert_never``.

Reading guide. An *expression* has a type from ``frontend.types`` and a span. Storage is handled through
*references* (type ``Ref``): ``FieldOf``/``ElementOf`` make references from references, ``Read`` takes the integer
out of a reference to an ``IntType``, ``StoreTo``/``UpdateTo``/``CopyInto`` write. Operands are evaluated left to
right, each once. An operation that can fail raises the exception in its docstring: control goes to the innermost
``Try`` that names it, else to the caller, else the program ends with its error verdict.
"""

from __future__ import annotations

from collections.abc import Mapping

from pyebpf import btf, enums
from pyebpf.declare import GlobalDecl, MapDecl, ProgramDecl
from pyebpf.diagnostics import Span
from pyebpf.frontend.types import BOOL, NONE, Bool, Int, Kernel, Maybe, Ref, Type, User
from pyebpf.hints import final
from pyebpf.ir.ops import Inlining
from pyebpf.layout import ArrayType, BytesType, Field, IntType, Layout, StructType
from pyebpf.records import dataclass, field
from pyebpf.uapi.constants import MapType, MapUpdateFlag
from pyebpf.uapi.contexts import ContextField as ContextFieldRow
from pyebpf.uapi.helpers import Helper
from pyebpf.uapi.programs import ProgramKind

ARRAYS = frozenset({MapType.ARRAY, MapType.PERCPU_ARRAY})
"""The types of maps that have every element from the beginning."""


class Exc(enums.Enum):
    """The exceptions that programs can raise; the value is the code that an out-of-line function reports."""

    EXCEPTION = 1
    ARITHMETIC = 2
    ZERO_DIVISION = 3
    LOOKUP = 4
    INDEX = 5
    KEY = 6
    OS = 7
    ASSERTION = 8
    REFERENCE = 9
    MEMORY = 10
    VALUE = 11
    RUNTIME = 12
    OVERFLOW = 13

    @property
    def parent(self) -> Exc | None:
        """The next class up in Python's hierarchy (``None`` above ``Exception``)."""
        return _PARENTS.get(self, Exc.EXCEPTION if self is not Exc.EXCEPTION else None)

    def is_a(self, other: Exc) -> bool:
        """Whether ``except other`` catches it."""
        current: Exc | None = self
        while current is not None and current is not other:
            current = current.parent
        return current is other


_PARENTS = {
    Exc.ZERO_DIVISION: Exc.ARITHMETIC,
    Exc.OVERFLOW: Exc.ARITHMETIC,
    Exc.INDEX: Exc.LOOKUP,
    Exc.KEY: Exc.LOOKUP,
}


@dataclass(eq=False, slots=True)
class Local:
    """A local variable, parameter or temporary. Holds an integer, a bool or a pointer in 8 bytes.

    ``boxed``: a callback defined in the function reads or writes it, so it lives in memory that both see.
    """

    name: str
    type: Type
    span: Span
    boxed: bool = False


@dataclass(eq=False, slots=True, kw_only=True)
class Node:
    """What every node has."""

    span: Span


# ---------------------------------------------------------------- expressions: values


@final
@dataclass(eq=False, slots=True, kw_only=True)
class IntConst(Node):
    """An integer (or, with type ``Bool``, 0 or 1)."""

    value: int
    type: Int | Bool


@final
@dataclass(eq=False, slots=True, kw_only=True)
class NullConst(Node):
    """``None`` where an optional reference or pointer is wanted."""

    type: Maybe


@final
@dataclass(eq=False, slots=True, kw_only=True)
class GetLocal(Node):
    """The variable's value. ``type`` may be narrower than the variable's (``Ref`` of a ``Maybe[Ref]`` after a test)."""

    local: Local
    type: Type


@final
@dataclass(eq=False, slots=True, kw_only=True)
class Bind(Node):
    """``(local := value)``: assigns and yields the value."""

    local: Local
    value: Expr
    type: Type


class ArithOp(enums.Enum):
    """Python's integer operators; FLOORDIV and MOD round towards minus infinity."""

    ADD = "+"
    SUB = "-"
    MUL = "*"
    FLOORDIV = "//"
    MOD = "%"
    AND = "&"
    OR = "|"
    XOR = "^"
    SHL = "<<"
    SHR = ">>"


@final
@dataclass(eq=False, slots=True, kw_only=True)
class Arith(Node):
    """``left op right`` on ``Int`` operands, computed on the mathematical values and then wrapped to the result type
    (``u64`` modulo 2**64, ``i64`` into two's complement). SHR of a signed value is arithmetic. Shift counts are in
    0…63. FLOORDIV and MOD raise ZERO_DIVISION where ``may_be_zero``; else the divisor is never 0."""

    op: ArithOp
    left: Expr
    right: Expr
    type: Int
    may_be_zero: bool = False


@final
@dataclass(eq=False, slots=True, kw_only=True)
class Negate(Node):
    """``-operand`` of an Int, wrapped to the result type."""

    operand: Expr
    type: Int


@final
@dataclass(eq=False, slots=True, kw_only=True)
class Invert(Node):
    """``~operand`` of an Int: -x - 1, wrapped to the result type."""

    operand: Expr
    type: Int


class CompareOp(enums.Enum):
    """Integer comparisons, right for every mix of signed and unsigned operands."""

    EQ = "=="
    NE = "!="
    LT = "<"
    LE = "<="
    GT = ">"
    GE = ">="


@final
@dataclass(eq=False, slots=True, kw_only=True)
class Compare(Node):
    """``left op right`` on Int (or two Bool) operands, by mathematical value."""

    op: CompareOp
    left: Expr
    right: Expr
    type: Bool = BOOL


@final
@dataclass(eq=False, slots=True, kw_only=True)
class IsNone(Node):
    """``operand is None`` of a Maybe; ``negated``: ``is not None``."""

    operand: Expr
    negated: bool = False
    type: Bool = BOOL


@final
@dataclass(eq=False, slots=True, kw_only=True)
class Truth(Node):
    """Whether an Int is not zero."""

    operand: Expr
    type: Bool = BOOL


@final
@dataclass(eq=False, slots=True, kw_only=True)
class Not(Node):
    """The negation of a Bool."""

    operand: Expr
    type: Bool = BOOL


@final
@dataclass(eq=False, slots=True, kw_only=True)
class Logic(Node):
    """``and`` (``conjunction``) or ``or`` of Bool operands, left to right, stopping at the first that decides."""

    conjunction: bool
    operands: tuple[Expr, ...]
    type: Bool = BOOL


@final
@dataclass(eq=False, slots=True, kw_only=True)
class Conditional(Node):
    """``then if test else otherwise``; ``test`` is Bool, both arms have the type (ints are in a common kind)."""

    test: Expr
    then: Expr
    otherwise: Expr
    type: Type


@final
@dataclass(eq=False, slots=True, kw_only=True)
class ToInt(Node):
    """The 0 or 1 of a Bool."""

    operand: Expr
    type: Int


@final
@dataclass(eq=False, slots=True, kw_only=True)
class Reinterpret(Node):
    """An Int as the other kind (``u64`` or ``i64``): the same 64 bits."""

    operand: Expr
    type: Int


@final
@dataclass(eq=False, slots=True, kw_only=True)
class Wrap(Node):
    """The low bits of an Int as ``layout`` holds them: ``u32(x)``, ``i16(x)``; its byte order plays no part."""

    layout: IntType
    operand: Expr
    type: Int


@final
@dataclass(eq=False, slots=True, kw_only=True)
class SwapBytes(Node):
    """``htons`` and co.: the low ``bits`` of an Int reversed bytewise (on a big-endian target: unchanged), the rest zero."""

    bits: int
    operand: Expr
    type: Int


@final
@dataclass(eq=False, slots=True, kw_only=True)
class Log2(Node):
    """The floor of the binary logarithm of the operand's 64 bits taken as unsigned; 0 for 0."""

    operand: Expr
    type: Int


# ---------------------------------------------------------------- expressions: references


@final
@dataclass(eq=False, slots=True, kw_only=True)
class ConstData(Node):
    """A constant in ``.rodata`` (frozen before loading): a byte string or a table. ``type.origin`` is CONSTANT. ``data``
    has ``type.layout.size`` bytes or fewer (the rest is zero); strings for helpers are NUL-terminated."""

    data: bytes
    type: Ref
    label: str = ""


@final
@dataclass(eq=False, slots=True, kw_only=True)
class NewStruct(Node):
    """A struct of its own in this activation: zeroed (padding too), then the given fields stored in order. Each node
    has one storage slot: evaluating it again makes the same storage anew. Values of struct, array and bytes fields
    are references and are copied (a shorter byte string is zero-filled)."""

    struct: StructType
    values: tuple[tuple[Field, Expr], ...]
    type: Ref
    label: str = ""


@final
@dataclass(eq=False, slots=True, kw_only=True)
class NewArray(Node):
    """An array or byte string of its own, zeroed, then the items stored from index 0. Storage as for ``NewStruct``."""

    layout: ArrayType | BytesType
    items: tuple[Expr, ...]
    type: Ref
    label: str = ""


@final
@dataclass(eq=False, slots=True, kw_only=True)
class CopyOf(Node):
    """``bpf.copy(x)``: a new object of this activation with the same contents (source may be shorter bytes)."""

    source: Expr
    type: Ref
    label: str = ""


@final
@dataclass(eq=False, slots=True, kw_only=True)
class FieldOf(Node):
    """The field of a struct reference, as a reference."""

    base: Expr
    field: Field
    type: Ref


@final
@dataclass(eq=False, slots=True, kw_only=True)
class ElementOf(Node):
    """``base[index]`` of an array or byte string, as a reference. A negative index counts from the end. INDEX is raised
    if it is outside, unless ``checked`` is false: then it is always in 0 … length-1 and the verifier sees it."""

    base: Expr
    index: Expr
    checked: bool
    type: Ref


@final
@dataclass(eq=False, slots=True, kw_only=True)
class SliceOf(Node):
    """``base[start:stop]`` with constant bounds inside: elements ``start … stop-1``, as a reference."""

    base: Expr
    start: int
    stop: int
    type: Ref


@final
@dataclass(eq=False, slots=True, kw_only=True)
class Read(Node):
    """The integer in the storage that ``ref`` (to an ``IntType``) refers to, byte order converted."""

    ref: Expr
    type: Int


@final
@dataclass(eq=False, slots=True, kw_only=True)
class GlobalVar(Node):
    """The storage of a ``Global`` or ``Const``."""

    decl: GlobalDecl
    type: Ref


@final
@dataclass(eq=False, slots=True, kw_only=True)
class EqualBytes(Node):
    """Whether the first ``length`` bytes behind two references are equal."""

    left: Expr
    right: Expr
    length: int
    type: Bool = BOOL


@final
@dataclass(eq=False, slots=True, kw_only=True)
class LengthOfBytes(Node):
    """``len`` of a byte string: the index of the first NUL, or its capacity."""

    ref: Expr
    type: Int


# ---------------------------------------------------------------- expressions: maps

MapKey = "Expr"
"""Keys and values: an Int (stored with the low bytes that the layout holds, in its byte order) or a reference."""


class Missing(enums.Enum):
    """What a lookup does where the key is missing."""

    NULL = "null"  # gives None: the type is Maybe[Ref]
    RAISE = "raise"  # raises KEY
    INSERT = "insert"  # inserts the map's default; where that fails raises OS


@final
@dataclass(eq=False, slots=True, kw_only=True)
class MapLookup(Node):
    """A reference to the value of ``key``. An array map's index outside raises KEY / gives None as a missing key does."""

    map: MapDecl
    key: Expr
    missing: Missing
    type: Ref | Maybe


@final
@dataclass(eq=False, slots=True, kw_only=True)
class MapUpdate(Node):
    """Stores ``value`` under ``key`` with update ``flags`` (Int). ``checked``: a failure raises OS; else the result is 0 or
    a negative error number."""

    map: MapDecl
    key: Expr
    value: Expr
    flags: Expr
    checked: bool
    type: Int

    @property
    def in_place(self) -> bool:
        """Whether this is ``m[i] = x`` with an integer of an array, which is stored through the element's address."""
        any_flags = isinstance(self.flags, IntConst) and self.flags.value == MapUpdateFlag.ANY
        return self.map.type in ARRAYS and isinstance(self.map.value, IntType) and any_flags and self.checked


@final
@dataclass(eq=False, slots=True, kw_only=True)
class MapDelete(Node):
    """Removes ``key``. ``checked``: a missing key raises KEY; else the result is 0 or a negative error number."""

    map: MapDecl
    key: Expr
    checked: bool
    type: Int


@final
@dataclass(eq=False, slots=True, kw_only=True)
class MapPush(Node):
    """Appends ``value`` to a queue or stack; 0 or a negative error number (``checked``: raises OS)."""

    map: MapDecl
    value: Expr
    flags: Expr
    checked: bool
    type: Int


@final
@dataclass(eq=False, slots=True, kw_only=True)
class MapPop(Node):
    """The next value of a queue or stack in storage of its own (slot as for ``NewStruct``), removed unless ``peek``. Raises
    INDEX when empty."""

    map: MapDecl
    peek: bool
    type: Ref


@final
@dataclass(eq=False, slots=True, kw_only=True)
class RingOutput(Node):
    """Copies ``value`` (a reference) into the ring buffer; 0 or a negative error number (``checked``: raises OS)."""

    map: MapDecl
    value: Expr
    flags: Expr
    checked: bool
    type: Int


# ---------------------------------------------------------------- expressions: contexts and packets


@final
@dataclass(eq=False, slots=True, kw_only=True)
class ContextField(Node):
    """A field of the context, as an Int (or a Pointer / Maybe[Pointer] for socket fields). ``index`` selects the element
    of an array field."""

    context: Expr
    row: ContextFieldRow
    index: int
    type: Type


@final
@dataclass(eq=False, slots=True, kw_only=True)
class EventData(Node):
    """The address of data in the event that is the context: at a field, or where a field says."""

    context: Expr
    row: ContextFieldRow
    type: Kernel


@final
@dataclass(eq=False, slots=True, kw_only=True)
class PacketLength(Node):
    """``data_end - data`` of a context with direct packet access: the bytes that views can reach."""

    context: Expr
    type: Int


@final
@dataclass(eq=False, slots=True, kw_only=True)
class PacketView(Node):
    """A reference to ``layout`` at ``offset`` (Int) of the packet, in place. Raises INDEX where the packet does not reach so
    far, or ``offset`` is negative or above 65,535. ``meta``: from ``data_meta``, bounded by ``data``."""

    context: Expr
    offset: Expr
    type: Ref
    meta: bool = False


@final
@dataclass(eq=False, slots=True, kw_only=True)
class PacketCopy(Node):
    """A copy of the packet's bytes at ``offset`` in storage of its own (``bpf_skb_load_bytes``). Raises INDEX."""

    context: Expr
    offset: Expr
    type: Ref
    label: str = ""


@final
@dataclass(eq=False, slots=True, kw_only=True)
class PacketStore(Node):
    """Writes ``value`` (reference, or Int with ``layout``) at ``offset`` through ``bpf_skb_store_bytes``. Raises INDEX."""

    context: Expr
    offset: Expr
    value: Expr
    layout: Layout
    flags: Expr
    type: Type = NONE


# ---------------------------------------------------------------- expressions: the kernel's own memory
#
# A *place* is an address with a type (``Kernel``). ``root`` and ``path`` say how it was reached from ``base``: numbers of
# members and elements, as in CO-RE access strings; ``offset`` (bytes) is right for the target's types.


@final
@dataclass(eq=False, slots=True, kw_only=True)
class AddressAs(Node):
    """An address taken for one of something of a type: an Int, a ``Kernel`` or a ``User`` as another of them."""

    operand: Expr
    type: Kernel | User | Int


@final
@dataclass(eq=False, slots=True, kw_only=True)
class KernelMember(Node):
    """The place of a member of the struct at ``base``. Nothing is read. ``core``: its offset depends on the kernel."""

    base: Expr
    root: btf.Type
    path: tuple[int, ...]
    offset: int
    type: Kernel
    bits: tuple[int, int] | None = None  # of a bit-field: bits from the start of the root, width


@final
@dataclass(eq=False, slots=True, kw_only=True)
class KernelElement(Node):
    """The place of the element ``index`` (Int) of the array of ``length`` elements of ``size`` bytes at ``base``. Raises
    INDEX as ``ElementOf`` does; where the length is not known (0) nothing is tested."""

    base: Expr
    index: Expr
    size: int
    length: int
    type: Kernel


@final
@dataclass(eq=False, slots=True, kw_only=True)
class KernelRead(Node):
    """The number or address at a place: ``width`` bytes; zero where the place cannot be read. ``checked``: raises OS there
    instead."""

    place: Expr
    width: int
    signed: bool
    type: Int | Kernel | User
    checked: bool = False


@final
@dataclass(eq=False, slots=True, kw_only=True)
class FarCopy(Node):
    """A copy of memory of the kernel or of a user at ``address`` (Kernel or User) in storage of its own; what cannot be
    read is zero. ``string``: up to a NUL at most (the rest is zero). ``checked``: raises OS where it cannot be read."""

    address: Expr
    string: bool
    type: Ref
    checked: bool = False
    label: str = ""


@final
@dataclass(eq=False, slots=True, kw_only=True)
class UserRead(Node):
    """The integer at an address of a user (``probe_read_user``); zero where it cannot be read. ``checked``: raises OS."""

    address: Expr
    layout: IntType
    type: Int
    checked: bool = False


@final
@dataclass(eq=False, slots=True, kw_only=True)
class UserMember(Node):
    """The address of a field of the struct at ``base``: ``offset`` bytes further."""

    base: Expr
    offset: int
    type: User


@final
@dataclass(eq=False, slots=True, kw_only=True)
class CoreFact(Node):
    """A number that depends on the kernel (``kind``): whether a field exists, the value of an enumerator, …"""

    kind: btf.CoreKind
    root: btf.Type
    path: tuple[int, ...]
    value: int
    type: Int


@final
@dataclass(eq=False, slots=True, kw_only=True)
class KernelSetting(Node):
    """A value of the kernel's configuration, or another that loaders know by a name: ``CONFIG_HZ``. An optional one is 0
    where the kernel has none."""

    name: str
    layout: IntType
    type: Int
    optional: bool = False


@final
@dataclass(eq=False, slots=True, kw_only=True)
class SyscallRegisters(Node):
    """The address of the registers with the arguments of the system call whose entry function is probed. The type is that of
    ``struct pt_regs`` if it is among the target's."""

    context: Expr
    type: Kernel


@final
@dataclass(eq=False, slots=True, kw_only=True)
class SyscallArgument(Node):
    """Argument ``index`` of a system call; ``registers``: where they are, as ``SyscallRegisters`` says."""

    registers: Expr
    index: int
    type: Int


@final
@dataclass(eq=False, slots=True, kw_only=True)
class UsdtRecord(Node):
    """What the loader says of the place in a program (USDT) that this one runs at. Raises KEY where that has fewer arguments
    than the function reads."""

    context: Expr
    type: Ref


@final
@dataclass(eq=False, slots=True, kw_only=True)
class UsdtArgument(Node):
    """Argument ``index`` there, with sign; ``record``: an ``UsdtRecord``. What cannot be read is 0."""

    context: Expr
    record: Expr
    index: int
    type: Int


@final
@dataclass(eq=False, slots=True, kw_only=True)
class UsdtCookie(Node):
    """What the user gave when the program was attached there."""

    record: Expr
    type: Int


# ---------------------------------------------------------------- expressions: calls


@final
@dataclass(eq=False, slots=True, kw_only=True)
class MapHandle(Node):
    """A map as an argument of a helper."""

    map: MapDecl
    type: Type = NONE


@final
@dataclass(eq=False, slots=True, kw_only=True)
class FunctionHandle(Node):
    """A callback as an argument of a helper."""

    function: Function
    type: Type = NONE


@final
@dataclass(eq=False, slots=True, kw_only=True)
class HelperCall(Node):
    """A raw call of a helper: its arguments in the C order. ``checked``: raises OS where the result is negative, or
    REFERENCE where it is null."""

    helper: Helper
    args: tuple[Expr, ...]
    checked: bool
    type: Type


@final
@dataclass(eq=False, slots=True, kw_only=True)
class FunctionCall(Node):
    """A call of an instance of a Python function. Raises what it raises. A result that is a reference is a struct, array or
    bytes built in the caller's slot (one per call node, as for ``NewStruct``), unless it refers to memory that outlives
    the callee."""

    function: Function
    args: tuple[Expr, ...]
    type: Type


@final
@dataclass(eq=False, slots=True, kw_only=True)
class LoopCall(Node):
    """``bpf.loop(count, body, state)``: calls ``body(i)`` or ``body(i, state)`` for i = 0 … count-1 until it returns something
    true (Bool, or Int not 0; ``None`` goes on); the result is the number of calls. Raises what the body raises."""

    count: Expr
    body: Function
    state: Expr | None
    type: Int


@final
@dataclass(eq=False, slots=True, kw_only=True)
class Print(Node):
    """``print(f"…")``: ``bpf_trace_[v]printk``. ``format`` is the kernel's format string without NUL, ``args``
    Ints, byte references or addresses of strings in the kernel in its order. ``file``: what an iterator writes to instead
    (``bpf_seq_printf``)."""

    format: bytes
    args: tuple[Expr, ...]
    file: Expr | None = None
    type: Type = NONE


Expr = (
    IntConst
    | NullConst
    | GetLocal
    | Bind
    | Arith
    | Negate
    | Invert
    | Compare
    | IsNone
    | Truth
    | Not
    | Logic
    | Conditional
    | ToInt
    | Reinterpret
    | Wrap
    | SwapBytes
    | Log2
    | ConstData
    | NewStruct
    | NewArray
    | CopyOf
    | FieldOf
    | ElementOf
    | SliceOf
    | Read
    | GlobalVar
    | EqualBytes
    | LengthOfBytes
    | MapLookup
    | MapUpdate
    | MapDelete
    | MapPush
    | MapPop
    | RingOutput
    | ContextField
    | EventData
    | PacketLength
    | PacketView
    | PacketCopy
    | PacketStore
    | AddressAs
    | KernelMember
    | KernelElement
    | KernelRead
    | FarCopy
    | UserRead
    | UserMember
    | CoreFact
    | KernelSetting
    | SyscallRegisters
    | SyscallArgument
    | UsdtRecord
    | UsdtArgument
    | UsdtCookie
    | MapHandle
    | FunctionHandle
    | HelperCall
    | FunctionCall
    | LoopCall
    | Print
)


# ---------------------------------------------------------------- statements


@final
@dataclass(eq=False, slots=True, kw_only=True)
class SetLocal(Node):
    """``local = value``."""

    local: Local
    value: Expr


@final
@dataclass(eq=False, slots=True, kw_only=True)
class StoreTo(Node):
    """Stores an Int into the scalar that ``ref`` refers to: its low bits, in its byte order."""

    ref: Expr
    value: Expr


@final
@dataclass(eq=False, slots=True, kw_only=True)
class UpdateTo(Node):
    """``ref op= value`` on a scalar: atomically, or as read, compute, store. ``compute`` has the Int type in which the plain
    form computes (operands converted as for ``Arith``). The reference is evaluated once, before ``value``."""

    ref: Expr
    op: ArithOp
    value: Expr
    atomic: bool
    compute: Int
    may_be_zero: bool = False


@final
@dataclass(eq=False, slots=True, kw_only=True)
class CopyInto(Node):
    """Copies struct, array or bytes behind ``source`` over ``target`` (shorter bytes are zero-filled)."""

    target: Expr
    source: Expr


@final
@dataclass(eq=False, slots=True, kw_only=True)
class StoreContext(Node):
    """Writes an Int to a context field."""

    context: Expr
    row: ContextFieldRow
    index: int
    value: Expr


@final
@dataclass(eq=False, slots=True, kw_only=True)
class Evaluate(Node):
    """An expression for its effects."""

    value: Expr


@final
@dataclass(eq=False, slots=True, kw_only=True)
class If(Node):
    """``test`` is Bool. Constant tests have been decided already."""

    test: Expr
    body: Body
    orelse: Body


class LoopDriver(enums.Enum):
    """What ends a loop for the verifier."""

    COUNTER = "counter"  # it follows every iteration
    ITERATOR = (
        "iterator"  # a number iterator of the kernel: it goes through the body until nothing changes any more
    )


@dataclass(frozen=True, slots=True)
class LoopKnowledge:
    """The intervals of the integer variables: before the loop, at its head (before the test of a ``while``), at the begin of
    every iteration (behind the test), where the iterations have ended (before ``else``), and behind the loop."""

    before: Mapping[Local, Int] = field(default_factory=dict)
    head: Mapping[Local, Int] = field(default_factory=dict)
    entering: Mapping[Local, Int] = field(default_factory=dict)
    ended: Mapping[Local, Int] = field(default_factory=dict)
    leaving: Mapping[Local, Int] = field(default_factory=dict)


@final
@dataclass(eq=False, slots=True, kw_only=True)
class While(Node):
    """``orelse`` runs when the test fails (not after ``break``). ``trips``: the most iterations that the rules allow for.

    The verifier sees the end in the test as it stands, by the ``counter`` in it: where it would not, the test counts
    as well.
    """

    test: Expr
    body: Body
    orelse: Body
    trips: int
    counter: Local | None = None
    driver: LoopDriver = LoopDriver.COUNTER
    known: LoopKnowledge = field(default_factory=LoopKnowledge)


@final
@dataclass(eq=False, slots=True, kw_only=True)
class ForRange(Node):
    """``for local in range(start, stop, step)``: bounds evaluated once; ``step`` is a constant, not 0. Assigning to ``local``
    in the body does not change the iteration; after the loop it keeps the last value. ``trips``: the proven maximum."""

    local: Local
    start: Expr
    stop: Expr
    step: int
    body: Body
    orelse: Body
    trips: int
    driver: LoopDriver = LoopDriver.COUNTER
    known: LoopKnowledge = field(default_factory=LoopKnowledge)


@final
@dataclass(eq=False, slots=True, kw_only=True)
class ForConstants(Node):
    """``for local in (1, 2, 3)``: constants in order."""

    local: Local
    values: tuple[int, ...]
    body: Body
    orelse: Body
    driver: LoopDriver = LoopDriver.COUNTER
    known: LoopKnowledge = field(default_factory=LoopKnowledge)


@final
@dataclass(eq=False, slots=True, kw_only=True)
class Break(Node):
    """Leaves the innermost loop."""


@final
@dataclass(eq=False, slots=True, kw_only=True)
class Continue(Node):
    """Goes on with the innermost loop."""


@final
@dataclass(eq=False, slots=True, kw_only=True)
class Return(Node):
    """Leaves the function. In entry functions the value is an Int: the verdict."""

    value: Expr | None


@final
@dataclass(eq=False, slots=True, kw_only=True)
class TailCall(Node):
    """``return progs[index](ctx)``: does not come back; raises KEY where the slot is empty or outside."""

    map: MapDecl
    context: Expr
    index: Expr


@final
@dataclass(eq=False, slots=True, kw_only=True)
class Raise(Node):
    """Raises ``exception``; ``errno`` (Int) for OS."""

    exception: Exc
    errno: Expr | None = None


@final
@dataclass(eq=False, slots=True, kw_only=True)
class Reraise(Node):
    """A bare ``raise`` inside a handler: the exception that it handles, again."""


@dataclass(eq=False, slots=True, kw_only=True)
class Handler(Node):
    """``except`` clause. ``catches``: the classes it names (each also catches its subclasses). ``errno``: the local that gets
    the error number of an OS error (positive, as in Python), where the body uses it."""

    catches: tuple[Exc, ...]
    errno: Local | None
    body: Body


@final
@dataclass(eq=False, slots=True, kw_only=True)
class Try(Node):
    """``try``: handlers in order; ``orelse`` after a body that raised nothing (its own exceptions are not handled here);
    ``final`` on every way out."""

    body: Body
    handlers: tuple[Handler, ...]
    orelse: Body
    final: Body


@final
@dataclass(eq=False, slots=True, kw_only=True)
class Reserve(Node):
    """``with ring.reserve(T) as local``: a zeroed record, or None where the buffer is full. A normal end, ``return``, ``break``
    and ``continue`` submit it; an exception discards it."""

    map: MapDecl
    local: Local
    layout: Layout
    body: Body


Stmt = (
    SetLocal
    | StoreTo
    | UpdateTo
    | CopyInto
    | StoreContext
    | Evaluate
    | If
    | While
    | ForRange
    | ForConstants
    | Break
    | Continue
    | Return
    | TailCall
    | Raise
    | Reraise
    | Try
    | Reserve
)
Body = tuple[Stmt, ...]


# ---------------------------------------------------------------- functions


class FunctionKind(enums.Enum):
    """What an instance is compiled as."""

    ENTRY = "entry"
    PLAIN = "plain"
    CALLBACK = "callback"
    GLOBAL = "global"


@dataclass(eq=False, slots=True, kw_only=True)
class Function(Node):
    """One instance of a Python function for given parameter types.

    ``captures``: the enclosing function's (boxed) locals that a nested callback uses. ``raises``: what may leave it.
    ``error_verdict``: for ENTRY, the verdict of an unhandled error. ``scratch``: its objects may be too large for the stack;
    where no scratch memory is free it raises MEMORY before anything else. ``body`` always ends in a return, raise or tail
    call on every path where ``result`` is not None; falling off the end returns ``None``.
    """

    name: str
    kind: FunctionKind
    params: tuple[Local, ...]
    result: Type
    body: Body = ()
    captures: tuple[Local, ...] = ()
    raises: frozenset[Exc] = frozenset()
    inlining: Inlining = Inlining.AUTO
    program: ProgramDecl | None = None
    program_kind: ProgramKind | None = None
    error_verdict: int = 0
    scratch: bool = False


@dataclass(eq=False, slots=True)
class Unit:
    """What one compilation works on: programs, the instances that they reach, and the declarations that they use.

    Every ``name`` in ``maps`` and ``globals`` is set and unique.
    """

    programs: list[Function] = field(default_factory=list)
    functions: list[Function] = field(default_factory=list)
    maps: list[MapDecl] = field(default_factory=list)
    globals: list[GlobalDecl] = field(default_factory=list)
    license: str = ""
