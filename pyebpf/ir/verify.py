"""The IR verifier: what must hold of a module before and after every pass.

Invariants of control flow and SSA form:

1.  A function has blocks, with unique names. A block ends with a terminator and has no other; its phis
    come first.
2.  The entry block has no predecessors.
3.  Every target of a terminator is a block of the function.
4.  An operation stands in one place; every operand is a parameter or an operation of the same function
    that has a result.
5.  A definition dominates its uses: it comes before them in the block or its block dominates theirs; a
    phi uses its input at the end of the predecessor. (In unreachable blocks this is not asked.)
6.  A phi has exactly one input for each predecessor of its block.

Invariants of types:

7.  A phi of integers joins values of its own type; a phi of pointers joins pointers that fit its type:
    the same space (``MEM`` takes any memory), at least its size, nullable only if it is.
8.  Integer operations work on i32 or i64 of one width; and, or and xor also on i1.
9.  ``Cmp`` and ``CompareBranch`` compare two integers of one type, or two packet pointers, or a nullable
    pointer with the null constant by EQ or NE.
10. Casts: ``Trunc`` from i64 to i32, ``Zext`` and ``Sext`` to i64 from a sufficiently wide operand,
    ``ByteSwap`` of 16, 32 or 64 bits that the type has.
11. A constant is in 0 … 2**bits - 1 of an integer type, or 0 of a nullable pointer type.
12. A nullable pointer is only compared, given to ``NonNull``, joined, stored, passed on or returned.
    ``NonNull`` only changes nullability.
13. An ``Alloca`` stands in the entry block; it has a positive size and a power of two up to 8 as alignment.
14. ``PtrAdd`` adds an i64 to a pointer into memory (not to a handle); the result is in the same space,
    and constant offsets stay inside a known size.
15. Loads, stores, ``MemZero``, ``MemCopy`` and ``Atomic`` go through a pointer into memory, the context
    or a kernel object; the offset fits 16 bits and the access stays inside a known size; the width is 1, 2, 4
    or 8 (4 or 8 for ``Atomic``) and not above that of the value.
16. A pointer is loaded from the context (4 or 8 bytes wide), a kernel object or an 8-byte stack slot, and
    stored only to an 8-byte stack slot.
17. At most five parameters and five arguments. ``Call`` fits the called function, which is a subprogram
    or a global function; ``FuncRef`` names a callback; ``MapRef``, ``GlobalRef`` and ``CallHelper`` name what
    exists.
18. ``Return`` gives what the function's header says. ``Branch`` tests an i1. Operations without a result
    are void.
19. Names agree with the module's tables, ``Param.index`` with the place, ``param_infos`` with the
    parameters; an entry function has one parameter, the context.

A violation is our mistake, never the user's: ``InternalError`` names the function and the operation.
"""

from __future__ import annotations

from pyebpf.diagnostics import InternalError, Span
from pyebpf.hints import TYPE_CHECKING
from pyebpf.ir import ops
from pyebpf.ir.cfg import Dominators
from pyebpf.ir.ops import BinOp, Block, Function, FunctionRole, Module, Op, Param, Phi, Pred, Value
from pyebpf.ir.text import describe
from pyebpf.ir.types import CTX, I1, I32, I64, VOID, IntTy, IRType, PtrTy, Space
from pyebpf.uapi.helpers import helper_by_id

if TYPE_CHECKING:
    from typing import NoReturn


MEMORY = frozenset(
    {Space.STACK, Space.MAP_VALUE, Space.GLOBAL, Space.PACKET, Space.PACKET_META, Space.RINGBUF, Space.MEM}
)
READABLE = MEMORY | {Space.CTX, Space.SOCKET, Space.KERNEL}
PACKET = frozenset({Space.PACKET, Space.PACKET_META, Space.PACKET_END})
ATOMIC = MEMORY - PACKET
_BITWISE = frozenset({BinOp.AND, BinOp.OR, BinOp.XOR})


def fits(actual: IRType, wanted: IRType) -> bool:
    """Whether a value of type ``actual`` may be joined or passed as ``wanted`` (invariant 7)."""
    if not isinstance(actual, PtrTy) or not isinstance(wanted, PtrTy):
        return actual == wanted
    same = actual.space is wanted.space or (wanted.space is Space.MEM and actual.space in MEMORY)
    enough = wanted.size is None or (actual.size is not None and actual.size >= wanted.size)
    return same and enough and (wanted.nullable or not actual.nullable)


def verify(module: Module, *, after: str = "") -> None:
    """Check every invariant of every function.

    Parameters:
        after: the pass that ran last, for the message.

    Raises:
        InternalError: the first violation found.
    """
    for name, function in module.functions.items():
        checker = _Checker(module, function, after)
        if name != function.name:
            checker.fail(None, f"the module knows it as {name!r}")
        checker.run()


def verify_function(module: Module, function: Function, *, after: str = "") -> None:
    """Check one function, as ``verify`` does."""
    _Checker(module, function, after).run()


def _is_kernel(type_: IRType) -> bool:
    """Whether it is a pointer to a kernel object."""
    return isinstance(type_, PtrTy) and type_.space is Space.KERNEL


class _Checker:
    def __init__(self, module: Module, function: Function, after: str) -> None:
        self.module = module
        self.function = function
        self.after = after
        self.block: Block | None = None

    def fail(self, op: Value | None, message: str) -> NoReturn:
        where = f"block {self.block.name}: " if self.block else ""
        what = f"{describe(self.function, op)}: " if op is not None else ""
        span: Span | None = op.span if op is not None else None
        phase = f"the IR verifier after {self.after}" if self.after else "the IR verifier"
        raise InternalError(
            f"{where}{what}{message}",
            phase=phase,
            function=self.function.name,
            span=span or self.function.span,
        )

    def require(self, condition: bool, op: Value | None, message: str) -> None:
        if not condition:
            self.fail(op, message)

    def run(self) -> None:
        self.header()
        self.shape()
        dominators = Dominators(self.function)
        self.dominance(dominators)
        for block in self.function.blocks:
            self.block = block
            preds = dominators.preds[block]
            for op in block.ops:
                if isinstance(op, Phi):
                    agree = len(op.incoming) == len(preds) and all(p in op.incoming for p in preds)
                    wanted = ", ".join(p.name for p in preds) or "none"
                    self.require(agree, op, f"inputs do not match the predecessors ({wanted})")
                self.op(op)

    # ------------------------------------------------------------ structure

    def header(self) -> None:
        function = self.function
        self.require(len(function.params) <= 5, None, "more than five parameters")
        for i, param in enumerate(function.params):
            self.require(param.index == i, None, f"parameter {i} has index {param.index}")
        infos = len(function.param_infos)
        self.require(infos in (0, len(function.params)), None, "param_infos do not match the params")
        if function.role is FunctionRole.ENTRY:
            types = [p.type for p in function.params]
            self.require(types == [CTX], None, "an entry function takes the context and nothing else")

    def shape(self) -> None:
        function = self.function
        self.require(bool(function.blocks), None, "no blocks")
        known = set(function.blocks)
        names: set[str] = set()
        self.place: dict[Value, tuple[Block, int]] = {}
        for block in function.blocks:
            self.block = block
            self.require(block.name not in names, None, "two blocks have this name")
            names.add(block.name)
            last = block.ops[-1] if block.ops else None
            self.require(isinstance(last, ops.TERMINATORS), last, "the block does not end with a terminator")
            phis_over = False
            for i, op in enumerate(block.ops):
                self.require(op not in self.place, op, "the operation stands in two places")
                self.place[op] = (block, i)
                inside = isinstance(op, ops.TERMINATORS) and op is not last
                self.require(not inside, op, "a terminator inside the block")
                self.require(not (isinstance(op, Phi) and phis_over), op, "a phi behind other operations")
                phis_over = phis_over or not isinstance(op, Phi)
            for successor in block.successors():
                self.require(successor in known, last, f"target {successor.name} is not in the function")
                self.require(successor is not function.entry, last, "the entry block has a predecessor")
        self.block = None

    def dominance(self, dominators: Dominators) -> None:
        params = set(self.function.params)
        for block in self.function.blocks:
            self.block = block
            reachable = dominators.reachable(block)
            for i, op in enumerate(block.ops):
                at_ends = op.incoming.items() if isinstance(op, Phi) else ((None, o) for o in op.operands())
                for pred, operand in at_ends:
                    if operand in params:
                        continue
                    if operand not in self.place:
                        what = "a foreign parameter" if isinstance(operand, Param) else "not in the function"
                        self.fail(op, f"an operand is {what}")
                    self.require(operand.type != VOID, op, "an operand has no result")
                    defined, at = self.place[operand]
                    use = block if pred is None else pred
                    if not reachable or not dominators.reachable(use):
                        continue
                    if defined is use and pred is None:
                        good = at < i
                    else:
                        good = dominators.reachable(defined) and dominators.dominates(defined, use)
                    self.require(good, op, "an operand is not defined on every path to its use")

    # ------------------------------------------------------------ operations

    def op(self, op: Op) -> None:  # one case per class; splitting it would only hide the list
        t = op.type
        match op:
            case ops.Const():
                if isinstance(t, IntTy):
                    self.require(0 <= op.value < 1 << t.bits, op, "the constant is out of its type's range")
                else:
                    null = isinstance(t, PtrTy) and t.nullable and op.value == 0
                    self.require(null, op, "a constant is an integer or the null of a nullable pointer type")
            case ops.Undef() | ops.MapRef() | ops.FuncRef() | ops.GlobalRef() | ops.ExternRef():
                self.symbol(op)
            case ops.CoreValue():
                self.require(t == I64, op, "a number that depends on the kernel is an i64")
            case ops.CoreAddress():
                of_context = op.base.type == CTX and t == I64 and not op.root
                good = of_context or (t == op.base.type and (t == I64 or _is_kernel(t)))
                self.require(good, op, "base and result are numbers, or pointers to kernel objects")
            case ops.KernelLoad():
                self.require(_is_kernel(op.pointer.type), op, "reads through no pointer to a kernel object")
                good = t == I64 or (_is_kernel(t) and op.width == 8)
                self.require(good and op.width in (1, 2, 4, 8), op, "gives an i64 or a pointer of 8 bytes")
            case ops.Phi():
                for value in op.incoming.values():
                    self.require(fits(value.type, t), op, f"joins {value.type} as {t}")
            case ops.Binary():
                allowed = (I1, I32, I64) if op.op in _BITWISE else (I32, I64)
                same = op.left.type == op.right.type == t
                self.require(same and t in allowed, op, "operands and result must be integers of one type")
            case ops.Neg():
                self.require(
                    op.operand.type == t and t in (I32, I64), op, "operand and result must be i32 or i64"
                )
            case ops.ByteSwap():
                good = op.operand.type == t and t in (I32, I64) and op.bits in (16, 32, 64)
                self.require(
                    good and isinstance(t, IntTy) and op.bits <= t.bits, op, "wrong width of a byte swap"
                )
            case ops.Cmp():
                self.compare(op, op.pred, op.left, op.right)
                self.require(t == I1, op, "a comparison is an i1")
            case ops.Trunc():
                self.require(op.operand.type == I64 and t == I32, op, "truncation is from i64 to i32")
            case ops.Zext() | ops.Sext():
                widths = (1, 8, 16, 32) if isinstance(op, ops.Zext) else (8, 16, 32)
                source = op.operand.type
                self.require(
                    t == I64 and isinstance(source, IntTy), op, "extension is from an integer to i64"
                )
                enough = isinstance(source, IntTy) and source.bits >= op.bits and op.bits in widths
                self.require(enough, op, "the operand does not have that many bits")
            case ops.Alloca():
                self.require(self.block is self.function.entry, op, "an alloca outside the entry block")
                self.require(op.size > 0 and op.align in (1, 2, 4, 8), op, "wrong size or alignment")
                self.require(t == PtrTy(Space.STACK, op.size), op, "the type must be that of the slot")
            case ops.PtrAdd():
                self.ptradd(op)
            case ops.NonNull():
                s = op.pointer.type
                same = (
                    isinstance(s, PtrTy) and isinstance(t, PtrTy) and (s.space, s.size) == (t.space, t.size)
                )
                self.require(
                    same and isinstance(t, PtrTy) and not t.nullable, op, "only nullability may change"
                )
            case ops.Load():
                self.access(op, op.pointer, op.offset, op.width)
                if isinstance(t, PtrTy):
                    self.pointer_slot(op, op.pointer, op.width)
                else:
                    self.require(t in (I32, I64), op, "a load gives i32, i64 or a pointer")
                    self.require(isinstance(t, IntTy) and op.width * 8 <= t.bits, op, "wider than its result")
            case ops.Store():
                self.access(op, op.pointer, op.offset, op.width)
                v = op.value.type
                if isinstance(v, PtrTy):
                    stack = isinstance(op.pointer.type, PtrTy) and op.pointer.type.space is Space.STACK
                    self.require(
                        stack and op.width == 8, op, "pointers are stored only to 8-byte stack slots"
                    )
                else:
                    good = isinstance(v, IntTy) and v in (I32, I64) and op.width * 8 <= v.bits
                    self.require(good, op, "stores an i32 or i64 that is at least as wide")
            case ops.MemZero():
                self.access(op, op.pointer, op.offset, op.size, bulk=True)
                self.require(op.align in (1, 2, 4, 8), op, "wrong alignment")
            case ops.MemCopy():
                self.access(op, op.target, op.target_offset, op.size, bulk=True)
                self.access(op, op.source, op.source_offset, op.size, bulk=True)
                self.require(op.align in (1, 2, 4, 8), op, "wrong alignment")
            case ops.Atomic():
                self.access(op, op.pointer, op.offset, op.width)
                space = op.pointer.type.space if isinstance(op.pointer.type, PtrTy) else None
                self.require(op.width in (4, 8) and space in ATOMIC, op, "no such atomic operation")
                v = op.value.type
                self.require(isinstance(v, IntTy) and op.width * 8 <= v.bits, op, "the value is too narrow")
            case ops.CallHelper() | ops.CallKfunc() | ops.Call():
                self.call(op)
            case ops.Branch():
                self.require(op.condition.type == I1, op, "a branch tests an i1")
            case ops.CompareBranch():
                self.compare(op, op.pred, op.left, op.right)
            case ops.Return():
                actual = VOID if op.value is None else op.value.type
                self.require(
                    fits(actual, self.function.result), op, f"the function gives {self.function.result}"
                )
            case ops.Jump() | ops.Unreachable():
                pass
        void = isinstance(op, (*ops.TERMINATORS, ops.Store, ops.MemZero, ops.MemCopy, ops.Atomic))
        calls = isinstance(op, (ops.CallHelper, ops.CallKfunc, ops.Call))
        self.require(calls or (t == VOID) == void, op, "wrong type for this operation")

    def symbol(self, op: ops.Undef | ops.MapRef | ops.FuncRef | ops.GlobalRef | ops.ExternRef) -> None:
        module = self.module
        match op:
            case ops.MapRef():
                self.require(op.map in module.maps, op, "no such map")
                self.require(op.type == PtrTy(Space.MAP), op, "the type must be ptr<map>")
            case ops.FuncRef():
                target = module.functions.get(op.function)
                good = target is not None and target.role is FunctionRole.CALLBACK
                self.require(good, op, "no such callback")
                self.require(op.type == PtrTy(Space.FUNC), op, "the type must be ptr<func>")
            case ops.GlobalRef():
                section = module.data.get(op.section)
                variable = section.variable(op.variable) if section else None
                good = variable is not None and op.type == PtrTy(Space.GLOBAL, variable.size)
                self.require(good, op, "no such variable, or another size")
            case ops.ExternRef():
                good = op.extern in module.externs
                known = isinstance(op.type, PtrTy) and op.type.space is Space.GLOBAL
                self.require(good and known, op, "no such extern, or no address")
            case ops.Undef():
                pass

    def compare(self, op: Op, pred: Pred, left: Value, right: Value) -> None:
        a, b = left.type, right.type
        if isinstance(a, IntTy) and isinstance(b, IntTy):
            self.require(a == b, op, "compares integers of two types")
            self.require(a != I1 or pred in (Pred.EQ, Pred.NE), op, "an i1 has no order")
        elif isinstance(a, PtrTy) and isinstance(b, PtrTy) and {a.space, b.space} <= PACKET:
            self.require(not a.nullable and not b.nullable, op, "compares nullable packet pointers")
            self.require(pred is not Pred.TEST, op, "tests bits of pointers")
        elif _is_kernel(a) and _is_kernel(b):
            self.require(pred in (Pred.EQ, Pred.NE), op, "orders pointers to kernel objects")
        else:
            null = isinstance(right, ops.Const) and isinstance(a, PtrTy) and a.nullable
            same = isinstance(a, PtrTy) and isinstance(b, PtrTy) and a.space is b.space
            good = null and same and pred in (Pred.EQ, Pred.NE)
            self.require(good, op, f"compares {a} with {b}")

    def ptradd(self, op: ops.PtrAdd) -> None:
        base, t = op.base.type, op.type
        self.require(op.offset.type == I64, op, "the offset must be an i64")
        if not isinstance(base, PtrTy) or not isinstance(t, PtrTy):
            self.fail(op, "base and result must be pointers")
        self.require(not base.nullable, op, "arithmetic on a pointer that may be null")
        self.require(base.space in MEMORY, op, f"no arithmetic on {base.space.value} pointers")
        self.require(t.space is base.space and not t.nullable, op, "the result must be in the same space")
        if isinstance(op.offset, ops.Const) and base.size is not None:
            offset = op.offset.value - (1 << 64) if op.offset.value >> 63 else op.offset.value
            # A pointer into the middle may go back, so only leaving at the far end is a mistake for certain.
            self.require(offset <= base.size, op, "the offset leaves the object")
            good = t.size is None or t.size <= base.size - offset
            self.require(good, op, "the result claims more bytes than there are")

    def access(self, op: Op, pointer: Value, offset: int, size: int, *, bulk: bool = False) -> None:
        t = pointer.type
        if not isinstance(t, PtrTy):
            self.fail(op, f"accesses memory through {t}")
        self.require(not t.nullable, op, "accesses memory through a pointer that may be null")
        self.require(
            t.space in (MEMORY if bulk else READABLE), op, f"no access through {t.space.value} pointers"
        )
        self.require(bulk or size in (1, 2, 4, 8), op, "the width must be 1, 2, 4 or 8")
        self.require(size > 0 and -(1 << 15) <= offset < 1 << 15, op, "the offset does not fit 16 bits")
        self.require(t.size is None or offset + size <= t.size, op, f"accesses bytes outside {t}")

    def pointer_slot(self, op: ops.Load, pointer: Value, width: int) -> None:
        space = pointer.type.space if isinstance(pointer.type, PtrTy) else None
        if space is Space.CTX:
            self.require(width in (4, 8), op, "a pointer in the context has 4 or 8 bytes")
        else:
            good = space in (Space.STACK, Space.KERNEL, Space.SOCKET) and width == 8
            self.require(
                good, op, "pointers are loaded from the context, kernel objects or 8-byte stack slots"
            )

    def call(self, op: ops.CallHelper | ops.CallKfunc | ops.Call) -> None:
        self.require(len(op.args) <= 5, op, "more than five arguments")
        if isinstance(op, ops.CallHelper):
            self.require(helper_by_id(op.helper) is not None, op, f"no helper has number {op.helper}")
        elif isinstance(op, ops.Call):
            callee = self.module.functions.get(op.function)
            if callee is None or callee.role not in (FunctionRole.SUBPROGRAM, FunctionRole.GLOBAL):
                self.fail(op, "no such function to call")
            self.require(len(callee.params) == len(op.args), op, "wrong number of arguments")
            for arg, param in zip(op.args, callee.params, strict=True):
                self.require(fits(arg.type, param.type), op, f"passes {arg.type} as {param.type}")
            self.require(op.type == callee.result, op, f"the called function gives {callee.result}")
