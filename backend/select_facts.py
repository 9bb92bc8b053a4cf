"""What instruction selection must know about a function before it starts: needed values and register widths.

``Facts.needed`` has the operations whose result some instruction reads from a register; the others are folded
into addresses and branches, or dead. ``Facts.bound`` and ``Facts.known`` tell how many low bits of a value's
register may be non-zero, so that widening costs nothing where the upper bits are zero anyway.
"""

from __future__ import annotations

from collections.abc import Iterator

from pyebpf.hints import TYPE_CHECKING
from pyebpf.ir import cfg, ops
from pyebpf.ir.ops import BinOp, Effects, Function, FunctionRole, Module, Value
from pyebpf.ir.types import I1, I32, IntTy
from pyebpf.records import dataclass
from pyebpf.target import Isa, Target

if TYPE_CHECKING:
    from typing import Final


# Values that selection makes anew where they are used; no instruction stands at their place in the block.
LEAVES: Final = (
    ops.Const,
    ops.Undef,
    ops.Alloca,
    ops.MapRef,
    ops.GlobalRef,
    ops.FuncRef,
    ops.ExternRef,
    ops.CoreValue,
)

OFFSET_MIN: Final = -(1 << 15)
OFFSET_MAX: Final = (1 << 15) - 1


def signed(value: int, bits: int) -> int:
    """The low ``bits`` of ``value`` as a two's complement number."""
    value &= (1 << bits) - 1
    return value - (1 << bits) if value >> (bits - 1) else value


@dataclass(frozen=True, slots=True)
class Address:
    """A memory operand: ``base`` in a register (or a leaf), ``offset`` bytes after it in the instruction."""

    base: Value
    offset: int


def address(pointer: Value, offset: int, size: int) -> Address:
    """Fold constant additions into the instruction's offset, as far as all of ``size`` bytes stay
    addressable.

    The verifier keeps the range of a checked packet pointer for every register that differs from it by a
    constant, so the base of a chain is as good as its end.
    """
    best = Address(pointer, offset)
    while True:
        match pointer:
            case ops.NonNull(pointer=inner):
                pointer = inner
            case ops.PtrAdd(base=inner, offset=ops.Const(value=step)):
                pointer = inner
                offset += signed(step, 64)
            case _:
                return best
        if offset >= OFFSET_MIN and offset + size - 1 <= OFFSET_MAX:
            best = Address(pointer, offset)


def addresses(op: Value) -> tuple[Address, ...]:
    """The memory operands of an operation that reads or writes memory itself."""
    match op:
        case ops.Load(pointer=pointer, offset=offset, width=width):
            return (address(pointer, offset, width),)
        case ops.Store(pointer=pointer, offset=offset, width=width):
            return (address(pointer, offset, width),)
        case ops.Atomic(pointer=pointer, offset=offset, width=width):
            return (address(pointer, offset, width),)
        case ops.MemZero(pointer=pointer, offset=offset, size=size):
            return (address(pointer, offset, size),)
        case ops.MemCopy(target=target, target_offset=there, source=source, source_offset=here, size=size):
            return (address(target, there, size), address(source, here, size))
        case _:
            return ()


def _read(op: Value) -> Iterator[tuple[Value, bool]]:
    """The values that the instructions of ``op`` read from registers (leaves too), and whether only as an
    address."""
    match op:
        case ops.Branch(condition=ops.Cmp() as compare):
            yield from ((operand, False) for operand in compare.operands())
        case ops.Store() | ops.Atomic():
            yield addresses(op)[0].base, True
            yield op.value, False
        case ops.Load() | ops.MemZero() | ops.MemCopy():
            yield from ((place.base, True) for place in addresses(op))
        case _:
            yield from ((operand, False) for operand in op.operands())


def _needed(order: list[ops.Block]) -> tuple[set[Value], set[Value]]:
    """Every value that must be in a register, from those that effects and control flow read backwards; and
    those that are read as something else than an address."""
    stays = Effects.WRITES | Effects.TERMINATES
    work = [read for block in order for op in block.ops if op.EFFECTS & stays for read in _read(op)]
    needed: set[Value] = set()
    exposed: set[Value] = set()
    while work:
        value, only_address = work.pop()
        if not only_address:
            exposed.add(value)
        if value in needed or isinstance(value, LEAVES):
            continue
        needed.add(value)
        # A call is a root already; reading its operands again would be harmless, but is not needed.
        if not value.EFFECTS & stays:
            work.extend(_read(value))
    return needed, exposed


_OUTERMOST = frozenset({FunctionRole.ENTRY, FunctionRole.GLOBAL})
"""Functions that the verifier follows in the first frame of a call chain."""


def _stack_indexed(
    function: Function, needed: set[Value], exposed: set[Value]
) -> dict[Value, tuple[ops.Alloca, int]]:
    """Variable distances into the frame that are only accessed: the frame slot and the constant part.

    ``index + r10`` is then all that must be computed, and the slot's place goes into the instructions'
    offsets. Not in subprograms and callbacks: for ``scalar += pointer`` the verifier takes over everything of the
    pointer but its frame number (``adjust_ptr_min_max_vals`` in kernel/bpf/verifier.c), and would check the
    access against the frame of the outermost function.
    """
    found: dict[Value, tuple[ops.Alloca, int]] = {}
    if function.role not in _OUTERMOST:
        return found
    for op in needed:
        if isinstance(op, ops.PtrAdd) and not isinstance(op.offset, ops.Const) and op not in exposed:
            where = address(op.base, 0, 1)
            if isinstance(where.base, ops.Alloca):
                found[op] = where.base, where.offset
    return found


def _section_homes(function: Function, order: list[ops.Block]) -> dict[str, tuple[ops.Block, ops.GlobalRef]]:
    """For each data section that is accessed: the block that dominates all accesses, and the variable of
    the first."""
    found: dict[str, tuple[ops.Block, ops.GlobalRef]] = {}
    dominators: cfg.Dominators | None = None
    for block in order:
        for op in block.ops:
            for base in (place.base for place in addresses(op)):
                if not isinstance(base, ops.GlobalRef):
                    continue
                home, first = found.setdefault(base.section, (block, base))
                if home is not block:
                    dominators = dominators or cfg.Dominators(function)
                    while not dominators.dominates(home, block):
                        home = dominators.idom[home]
                    found[base.section] = home, first
    return found


def _opaque(op: Value) -> bool:
    """Whether the verifier follows the result less well than we do."""
    match op:
        case ops.ByteSwap() | ops.Binary(op=BinOp.UDIV | BinOp.UREM):
            return True
        case ops.Binary(op=BinOp.LSHR, right=right):
            return not isinstance(right, ops.Const)
        case _:
            return False


class Widths:
    """How many low bits of each value's register may be non-zero, by a data flow from zero bits upwards.

    With ``exact`` given (the widths at run time), it finds those that the verifier can follow: it knows
    nothing of the result of a byte swap, a division, or a shift by a variable distance.
    """

    def __init__(self, facts: Facts, exact: Widths | None) -> None:
        self._facts = facts
        self._exact = exact
        self._bounds: dict[Value, int] = {}
        again = True
        while again:  # at most 65 rounds, one for each level of the lattice
            again = False
            for block in facts.order:
                for op in block.ops:
                    if isinstance(op.type, IntTy):
                        bound = self._compute(op)
                        if bound != self._bounds.get(op, 0):
                            self._bounds[op] = bound
                            again = facts.has_loops

    def __getitem__(self, value: Value) -> int:
        if isinstance(value, ops.Const | ops.Undef | ops.Param):
            return self._compute(value)
        return self._bounds.get(value, 0) if isinstance(value.type, IntTy) else 64

    def _compute(self, op: Value) -> int:
        # What a register of the type is limited to after a 32-bit operation, which zeroes the upper half.
        clean = {I1: 1, I32: 32}.get(op.type, 64) if isinstance(op.type, IntTy) else 64
        facts = self._facts
        match op:
            case ops.Const(value=value):
                return value.bit_length()
            case ops.Undef():
                return 0
            case ops.Param():
                # Static functions are called by us only, and we pass narrow values zero-extended.
                return clean if facts.function.role is FunctionRole.SUBPROGRAM else 64
            case ops.Call(function=name):
                # The verifier does not look into global functions, and takes their results for any scalar.
                return 64 if facts.module.functions[name].role is FunctionRole.GLOBAL else clean
            case ops.Phi():
                return max((self[v] for v in op.incoming.values()), default=0)
            case ops.Binary() if self._exact is not None and _opaque(op):
                return 64  # also of 32-bit instructions, whose upper half is zero
            case ops.Binary():
                return min(clean, self._binary(op, clean))
            case ops.Trunc(operand=operand) | ops.Sext(bits=32, operand=operand, type=IntTy(bits=32)):
                return self[operand] if facts.target.isa >= Isa.V3 else min(self[operand], 32)
            case ops.Zext(bits=32, operand=operand) if self._exact is not None and operand.type == I32:
                # The upper half is zero as a rule, and no instruction tells the verifier so.
                return min(64 if self._exact[operand] <= 32 else 32, self[operand])
            case ops.Zext(bits=bits, operand=operand):
                return min(bits, self[operand])
            case ops.Sext(bits=bits, operand=operand):
                return self[operand] if self[operand] < bits else clean
            case ops.ByteSwap(bits=bits):
                return bits if self._exact is None else 64
            case ops.Load(width=width, signed=False):
                return width * 8
            case ops.Load() if op.type == I32 and facts.target.isa >= Isa.V4:
                return 64  # ldsx extends to all 64 bits
            case ops.CallHelper() | ops.CallKfunc():
                return 64
            case _:
                return clean

    def _binary(self, op: ops.Binary, clean: int) -> int:
        left, right = self[op.left], self[op.right]
        count = op.right.value if isinstance(op.right, ops.Const) else None
        match op.op:
            case BinOp.AND:
                return min(left, right)
            case BinOp.OR | BinOp.XOR:
                return max(left, right)
            case BinOp.LSHR if count is not None:
                return max(0, min(left, clean) - count)
            case BinOp.LSHR:
                return left
            case BinOp.SHL if count is not None:
                return left + count
            case BinOp.UDIV:
                return left
            case BinOp.UREM:
                return min(left, right)
            case _:
                return clean


class Facts:
    """What is known of ``function``. ``order``: its blocks in reverse postorder; ``needed``: see the
    module's text; ``bound``: register widths at run time; ``known``: those that the verifier can follow, on
    which alone an extension may be left out; ``section_homes``: the block in which a data section's address
    is made; ``stack_indexed``: pointers into the frame that need no address of their own.
    """

    def __init__(self, function: Function, module: Module, target: Target) -> None:
        self.function = function
        self.module = module
        self.target = target
        self.order = cfg.reverse_postorder(function)
        self.needed, exposed = _needed(self.order)
        self.stack_indexed = _stack_indexed(function, self.needed, exposed)
        self.section_homes = _section_homes(function, self.order)
        place = {block: number for number, block in enumerate(self.order)}
        self.has_loops = any(place[s] <= place[b] for b in self.order for s in b.successors())
        self.bound = Widths(self, None)
        opaque = any(_opaque(op) for block in self.order for op in block.ops)
        self.known = Widths(self, self.bound) if opaque else self.bound

    def halves(self, op: ops.Binary) -> bool:
        """Whether an unsigned i64 division may be done on 32 bits: faster, and bounded by the verifier."""
        return self.target.isa >= Isa.V3 and self.bound[op.left] <= 32 and self.bound[op.right] <= 32
