"""What the lowering of one function carries along: the builder, the variables' storage, temporaries, and the
values and places that expressions become.

The modules ``build_*`` are functions over this state, one subject each. They recurse through ``value``,
``place``, ``branch`` and ``run`` here, which go to the dispatchers in ``build_expr`` and ``build_control``,
so that no subject needs to know another one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from pyebpf.diagnostics import InternalError, Span
from pyebpf.frontend import tree
from pyebpf.frontend.big_locals import SMALL, SMALL_TOGETHER
from pyebpf.frontend.build_data import DataBuilder
from pyebpf.frontend.build_exits import Exits
from pyebpf.frontend.build_facts import Facts
from pyebpf.frontend.build_frame import Frame, RecordLayout
from pyebpf.frontend.build_types import ir_type
from pyebpf.frontend.types import Bool, Int, Maybe, NoneT, Ref, Type
from pyebpf.ir.builder import Builder
from pyebpf.ir.ops import Alloca, AtomicOp, BinOp, Block, CallHelper, Const, Pred, Value
from pyebpf.ir.types import I1, I64, IRType, PtrTy
from pyebpf.layout import round_up
from pyebpf.records import dataclass, field
from pyebpf.target import Target
from pyebpf.uapi.helpers import helper_by_name

PHASE = "building SSA"
USERS_BYTES = 8
"""Scratch memory begins with the number of those who use it."""


@dataclass(frozen=True, slots=True)
class Place:
    """Storage: ``offset`` bytes behind ``pointer``, known to be a multiple of ``align`` there."""

    pointer: Value
    offset: int
    align: int

    def at(self, offset: int) -> Place:
        """The storage ``offset`` bytes further."""
        align = self.align
        while offset % align:
            align //= 2
        return Place(self.pointer, self.offset + offset, align)

    @property
    def pointer_type(self) -> PtrTy:
        """The type of ``pointer``."""
        assert isinstance(self.pointer.type, PtrTy)
        return self.pointer.type


@dataclass(frozen=True, slots=True)
class Number:
    """An i64 value together with the static type that says how its bits are meant."""

    value: Value
    type: Int

    @property
    def constant(self) -> int | None:
        """Its number, where the value is a constant."""
        if not isinstance(self.value, Const):
            return None
        bits = self.value.value
        return bits if self.type.unsigned or bits < 1 << 63 else bits - (1 << 64)

    @property
    def never_negative(self) -> bool:
        """At run time it is not below zero, wrapped results included."""
        constant = self.constant
        if constant is not None:
            return constant >= 0
        return self.type.unsigned or (self.type.exact and self.type.lo >= 0)

    def at_most(self, limit: int) -> bool:
        """At run time it is not above ``limit``, wrapped results included."""
        constant = self.constant
        return constant <= limit if constant is not None else self.type.exact and self.type.hi <= limit

    def seen_in(self, lo: int, hi: int) -> bool:
        """It is in ``lo … hi`` at run time, and the kernel's verifier knows it too."""
        constant = self.constant
        if constant is not None:
            return lo <= constant <= hi
        return self.type.seen and lo <= self.type.lo and self.type.hi <= hi


Operand = Value | Place | None
"""What an expression becomes: an i64, i1 or pointer; storage (for references); or nothing."""


@dataclass(frozen=True, slots=True)
class Lowering:
    """The dispatchers that the subjects recurse through. ``checks``: off, what should raise is not tested at run
    time; only our own tests do that, to see what the kernel says."""

    expression: Callable[[State, tree.Expr], Operand]
    branch: Callable[[State, tree.Expr, Block, Block], None]
    body: Callable[[State, tree.Body], None]
    checks: bool = True


@dataclass(slots=True)
class Scratch:
    """The scratch memory of a function: ``base``, of which ``end`` bytes are used. ``small``: bytes of the objects that stay
    on the stack."""

    base: Value
    end: int = USERS_BYTES
    small: int = 0
    places: dict[tuple[tree.Node | str, str | int], int] = field(default_factory=dict)


@dataclass(slots=True)
class State:
    """One function being lowered."""

    source: tree.Function
    frames: dict[tree.Function, Frame]
    data: DataBuilder
    target: Target
    b: Builder
    exits: Exits
    lowering: Lowering
    facts: Facts
    storage: dict[tree.Local, Place] = field(default_factory=dict)
    record: Value | None = None  # the hidden parameter
    visited: dict[Block, None] = field(default_factory=dict)  # in the order of the source
    slots: dict[tuple[tree.Node, str], Alloca] = field(default_factory=dict)
    temporaries: dict[tuple[str, int], Alloca] = field(default_factory=dict)
    scratch: Scratch | None = None

    # ------------------------------------------------------------ recursion

    def operand(self, expr: tree.Expr) -> Operand:
        """Lower ``expr``, with its span on the operations that it becomes."""
        with self.at(expr.span):
            return self.lowering.expression(self, expr)

    def value(self, expr: tree.Expr) -> Value:
        """Lower ``expr`` to one SSA value: i64 for Int, i1 for Bool, a pointer for everything else."""
        operand = self.operand(expr)
        if isinstance(operand, Place):
            with self.at(expr.span):
                return self.pointer(operand)
        if operand is None:
            raise self.bug(f"{type(expr).__name__} has no value", expr.span)
        return operand

    def number(self, expr: tree.Expr) -> Number:
        """Lower an expression of type Int."""
        if not isinstance(expr.type, Int):
            raise self.bug(f"{type(expr).__name__} of type {expr.type} where an integer is needed", expr.span)
        return Number(self.value(expr), expr.type)

    def place(self, expr: tree.Expr) -> Place:
        """Lower a reference to the storage that it refers to."""
        operand = self.operand(expr)
        if isinstance(operand, Place):
            return operand
        if operand is None or not isinstance(expr.type, Ref):
            raise self.bug(f"{type(expr).__name__} of type {expr.type} is no reference", expr.span)
        return Place(operand, 0, expr.type.layout.align)

    def branch(self, test: tree.Expr, then: Block, otherwise: Block) -> None:
        """Go to ``then`` if the Bool ``test`` holds, else to ``otherwise``; ends the current block."""
        with self.at(test.span):
            self.lowering.branch(self, test, then, otherwise)

    def run(self, body: tree.Body) -> None:
        """Lower statements at the current place."""
        self.lowering.body(self, body)

    @contextmanager
    def at(self, span: Span) -> Iterator[None]:
        """Give the operations made inside the span ``span``."""
        before, self.b.span = self.b.span, span
        try:
            yield
        finally:
            self.b.span = before

    # ------------------------------------------------------------ control

    def go(self, block: Block) -> None:
        """Continue at the end of ``block``."""
        self.visited.setdefault(block)
        self.b.block = block

    def jump_to(self, block: Block) -> None:
        """End the current block with a jump to ``block``, unless it has ended, and continue there."""
        if not self.b.terminated:
            self.b.jump(block)
        self.go(block)

    def fail_if(self, condition: Value, exception: tree.Exc) -> None:
        """Raise ``exception`` (not OS) where the i1 ``condition`` holds, else go on."""
        if not self.lowering.checks:
            return
        rest = self.b.new_block("ok")
        self.b.branch(condition, self.exits.route(exception), rest, unlikely=True)
        self.go(rest)

    def confined(self, value: Value, outside: Value, exception: tree.Exc, instead: int = 0) -> Value:
        """``value``, of which only the verifier does not know that ``outside`` never holds; it then is like an ``exception``
        where that costs nothing, else as if it were ``instead``."""
        if not self.lowering.checks:
            return value
        if self.exits.errors_alike:
            self.fail_if(outside, exception)
            return value
        start, never, rest = self.b.block, self.exits.cold_block("never"), self.b.new_block("inside")
        self.b.branch(outside, never, rest, unlikely=True)
        self.go(never)
        other = self.b.const(instead)
        self.b.jump(rest)
        self.go(rest)
        return self.b.phi(value.type, {start: value, never: other})

    def fail_with_errno_if(self, condition: Value, errno: Callable[[], Value]) -> None:
        """Raise OS where ``condition`` holds; ``errno`` computes the positive error number, on the failing
        path only."""
        failing, rest = self.exits.cold_block("failed"), self.b.new_block("ok")
        self.b.branch(condition, failing, rest, unlikely=True)
        self.go(failing)
        self.raise_os(errno())
        self.go(rest)

    def raise_os(self, errno: Value) -> None:
        """Raise OS with a positive error number (i64); ends the current block."""
        self.b.store(self.exits.errno(), 0, 8, errno)
        self.b.jump(self.exits.route(tree.Exc.OS))

    def raise_now(self, exception: tree.Exc) -> None:
        """Raise ``exception`` (not OS). Lowering goes on in a block that nothing reaches."""
        self.b.jump(self.exits.route(exception))
        self.go(self.b.new_block("unreached"))

    # ------------------------------------------------------------ storage

    def pointer(self, place: Place) -> Value:
        """The address of ``place`` as one value."""
        return place.pointer if place.offset == 0 else self.b.ptradd(place.pointer, place.offset)

    def slot(self, node: tree.Node, role: str, size: int, label: str) -> Place:
        """The storage of its own that ``node`` has for ``role``: always the same."""
        key = (node, role)
        if key not in self.slots:
            self.slots[key] = self.b.alloca(round_up(max(size, 1), 8), 8, label)
        return Place(self.slots[key], 0, 8)

    def object(self, node: tree.Node, role: str, size: int, label: str) -> Place:
        """As ``slot``, for what may lie in scratch memory."""
        size = round_up(max(size, 1), 8)
        found = self._in_scratch((node, role), size)
        return self.slot(node, role, size, label) if found is None else found

    def temporary(self, role: str, size: int) -> Place:
        """Storage that lives for one call only, shared by all uses with that role and size."""
        size = round_up(max(size, 1), 8)
        key = (role, size)
        found = self._in_scratch(key, size)
        if found is not None:
            return found
        if key not in self.temporaries:
            self.temporaries[key] = self.b.alloca(size, 8, role)
        return Place(self.temporaries[key], 0, 8)

    def _in_scratch(self, key: tuple[tree.Node | str, str | int], size: int) -> Place | None:
        scratch = self.scratch
        if scratch is None:
            return None
        if key not in scratch.places:
            if size <= SMALL and scratch.small + size <= SMALL_TOGETHER:
                scratch.small += size
                return None
            scratch.places[key] = scratch.end
            scratch.end += size
        return Place(self.b.ptradd(scratch.base, scratch.places[key], size), 0, 8)

    def count_users(self, base: Value, change: int) -> None:
        """Add to the number of those who use the scratch memory at ``base``."""
        self.b.atomic(AtomicOp.ADD, base, 0, USERS_BYTES, self.b.const(change))

    def give_back(self) -> None:
        """Give back the function's scratch memory, where it has some."""
        if self.scratch is not None:
            self.count_users(self.scratch.base, -1)

    def local(self, local: tree.Local) -> Place:
        """The eight bytes of a variable."""
        if local not in self.storage:
            self.storage[local] = Place(self.b.alloca(8, 8, local.name), 0, 8)
        return self.storage[local]

    def store_local(self, local: tree.Local, value: Value) -> None:
        """Assign an i64, i1 or pointer to a variable."""
        place = self.local(local)
        self.b.store(place.pointer, place.offset, 8, self.widen(value))

    def load_local(self, local: tree.Local, type: Type) -> Value:
        """The value of a variable, which is known to be of ``type`` here."""
        place = self.local(local)
        held = self.b.load(place.pointer, place.offset, 8, type=self.type_of(local.type), name=local.name)
        if isinstance(local.type, Maybe) and not isinstance(type, Maybe | NoneT):
            return self.b.nonnull(held)
        return self.narrow(held, type)

    def widen(self, value: Value) -> Value:
        """As it is kept in eight bytes: an i1 becomes 0 or 1."""
        return self.b.zext(1, value) if value.type == I1 else value

    def narrow(self, value: Value, type: Type) -> Value:
        """Back from eight bytes: a Bool becomes an i1."""
        if isinstance(type, Bool) and value.type != I1:
            return self.b.cmp(Pred.NE, value, self.b.const(0))
        return value

    def negated(self, value: Value) -> Value:
        """``0 - value`` of an i64: the positive error number of a negative result."""
        return self.b.binary(BinOp.SUB, self.b.const(0), value)

    # ------------------------------------------------------------ facts

    @property
    def frame(self) -> Frame:
        """How this function is called."""
        return self.frames[self.source]

    def type_of(self, type: Type) -> IRType:
        """The type in which a value of ``type`` is kept in a variable."""
        return ir_type(type, self.frame.caller, self.frame.own)

    def pointer_type(self, type: Type) -> PtrTy:
        """``type_of`` of what is known to be a reference, a handle or a context."""
        found = self.type_of(type)
        assert isinstance(found, PtrTy), f"{type} is no pointer"
        return found

    def record_layout(self) -> RecordLayout:
        """The layout of the hidden record behind ``record``."""
        layout = self.frame.record
        if layout is None or self.record is None:
            raise self.bug("the function has no record of its caller's", self.source.span)
        return layout

    def helper(self, name: str, *args: Value, type: IRType = I64) -> CallHelper:
        """Call the helper ``bpf_<name>``."""
        row = helper_by_name(name)
        if row is None:
            raise self.bug(f"there is no helper bpf_{name}")
        return self.b.helper(row.id, *args, type=type)

    def bug(self, message: str, span: Span | None = None) -> InternalError:
        """An error of the compiler at ``span`` (default: the current one)."""
        return InternalError(message, phase=PHASE, function=self.source.name, span=span or self.b.span)
