"""An interpreter of the SSA for the tests: what a module computes, to compare before and after a pass.

Integers are Python's, reduced to their type. A pointer is an object and an offset; objects are byte arrays
that also remember pointers stored in them, and every access is checked. What the outside can see is recorded:
the result, the helper calls with the memory they were given, and the final contents of map values and
globals.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from pyebpf.ir import ops
from pyebpf.ir.ops import BinOp, Block, Function, Module, Pred, Value
from pyebpf.ir.types import IntTy, PtrTy, Space
from pyebpf.uapi.helpers import READ, helper_by_id

STEPS = 20_000


class Fault(Exception):
    """The program did what no verified program does."""


@dataclass(eq=False)
class Memory:
    """An object in memory. ``pointers`` holds the pointers stored in it, by offset; ``stale`` objects may not
    be used."""

    name: str
    data: bytearray
    pointers: dict[int, Pointer] = field(default_factory=dict)
    stale: bool = False


@dataclass(frozen=True)
class Pointer:
    """``offset`` bytes into ``memory``; ``memory`` is None for the null pointer."""

    memory: Memory | None
    offset: int = 0


NULL = Pointer(None)
Runtime = int | Pointer


def as_signed(value: int, bits: int) -> int:
    """``value`` as a two's complement number."""
    return (value ^ 1 << bits - 1) - (1 << bits - 1)


def compare(pred: Pred, a: int, b: int, bits: int) -> bool:
    """A relation between two bit patterns."""
    if pred.value.startswith("s"):
        a, b = as_signed(a, bits), as_signed(b, bits)
    if pred is Pred.TEST:
        return bool(a & b)
    return {"eq": a == b, "ne": a != b, "lt": a < b, "le": a <= b, "gt": a > b, "ge": a >= b}[pred.value[-2:]]


def compute(op: ops.Op, operands: list[int]) -> int:
    """The result of an integer operation. Written apart from the compiler's own evaluation, so that they
    check each other."""
    assert isinstance(op.type, IntTy)
    bits = op.type.bits
    a, b = operands[0] if operands else 0, operands[-1] if operands else 0
    match op:
        case ops.Const():
            result = op.value
        case ops.Binary():
            result = arithmetic(op.op, a, b, bits)
        case ops.Neg():
            result = -a
        case ops.ByteSwap():
            result = sum((a >> 8 * i & 0xFF) << op.bits - 8 - 8 * i for i in range(op.bits // 8))
        case ops.Trunc():
            result = a
        case ops.Zext():
            result = a % (1 << op.bits)
        case ops.Sext():
            result = as_signed(a % (1 << op.bits), op.bits)
        case _:
            raise Fault(f"{type(op).__name__} has no result")
    return result % (1 << bits)


def arithmetic(op: BinOp, a: int, b: int, bits: int) -> int:
    """Two's complement arithmetic before reduction."""
    if op in (BinOp.UDIV, BinOp.UREM, BinOp.SDIV, BinOp.SREM) and b == 0:
        raise Fault("division by zero")
    if op in (BinOp.SHL, BinOp.LSHR, BinOp.ASHR) and b >= bits:
        raise Fault("shift by too much")
    sa, sb = as_signed(a, bits), as_signed(b, bits)
    match op:
        case BinOp.ADD:
            return a + b
        case BinOp.SUB:
            return a - b
        case BinOp.MUL:
            return a * b
        case BinOp.UDIV:
            return a // b
        case BinOp.UREM:
            return a % b
        case BinOp.SDIV:
            return abs(sa) // abs(sb) * (1 if (sa < 0) == (sb < 0) else -1)
        case BinOp.SREM:
            return abs(sa) % abs(sb) * (-1 if sa < 0 else 1)
        case BinOp.AND:
            return a & b
        case BinOp.OR:
            return a | b
        case BinOp.XOR:
            return a ^ b
        case BinOp.SHL:
            return a << b
        case BinOp.LSHR:
            return a >> b
        case BinOp.ASHR:
            return sa >> b


class Machine:
    """Runs functions of a module against one packet, one context and one value for each map."""

    def __init__(
        self, module: Module, packet: bytes, context: bytes, missing: frozenset[str] = frozenset()
    ) -> None:
        self.module = module
        self.packet = Memory("packet", bytearray(packet))
        self.context = Memory("context", bytearray(context))
        self.missing = missing
        self.values = {name: Memory(name, bytearray(m.value_size)) for name, m in module.maps.items()}
        self.globals = {name: Memory(name, bytearray(s.contents)) for name, s in module.data.items()}
        self.trace: list[object] = []
        self.steps = 0

    def observe(self, entry: str, *args: Runtime) -> object:
        """Everything that can be seen of a run of the function ``entry``."""
        result = self.call(self.module.functions[entry], list(args) or [Pointer(self.context)])
        contents = {
            m.name: bytes(m.data) for m in (*self.values.values(), *self.globals.values(), self.packet)
        }
        return result, self.trace, contents

    def call(self, function: Function, args: list[Runtime]) -> Runtime | None:
        env: dict[Value, Runtime] = dict(zip(function.params, args, strict=True))
        block, previous = function.entry, None
        while True:
            if previous:
                env.update({phi: env[phi.incoming[previous]] for phi in block.phis()})
            self.entered(function, block, env)
            target: Block | None = None
            for op in block.ops:
                self.steps += 1
                if self.steps > STEPS:
                    raise Fault("too many steps")
                match op:
                    case ops.Phi():
                        pass
                    case ops.Return():
                        return None if op.value is None else env[op.value]
                    case ops.Jump():
                        target = op.target
                    case ops.Branch():
                        target = op.then if env[op.condition] else op.otherwise
                    case ops.CompareBranch():
                        holds = self.compare(op.pred, op.left, op.right, env)
                        target = op.then if holds else op.otherwise
                    case ops.Unreachable():
                        raise Fault("reached what is unreachable")
                    case _:
                        self.execute(op, env)
            assert target is not None
            block, previous = target, block

    def entered(self, function: Function, block: Block, env: dict[Value, Runtime]) -> None:
        """Called when the phis of a block have their values, for machines that watch."""

    def compare(self, pred: Pred, left: Value, right: Value, env: dict[Value, Runtime]) -> bool:
        a, b = env[left], env[right]
        if isinstance(a, Pointer) and isinstance(b, Pointer):
            if a.memory is None or b.memory is None:
                return (a.memory is b.memory) == (pred is Pred.EQ)
            if a.memory is not b.memory or a.memory.stale:
                raise Fault("compares pointers into two objects")
            return compare(pred, a.offset, b.offset, 64)
        assert isinstance(a, int) and isinstance(b, int) and isinstance(left.type, IntTy)
        return compare(pred, a, b, left.type.bits)

    def execute(self, op: ops.Op, env: dict[Value, Runtime]) -> None:
        match op:
            case ops.Const() if isinstance(op.type, PtrTy):
                env[op] = NULL
            case ops.Undef():
                env[op] = 0xBAD if isinstance(op.type, IntTy) else NULL
            case ops.Cmp():
                env[op] = int(self.compare(op.pred, op.left, op.right, env))
            case ops.Alloca():
                env[op] = Pointer(Memory(op.label, bytearray(b"\xa5" * op.size)))
            case ops.PtrAdd():
                base, offset = env[op.base], env[op.offset]
                assert isinstance(base, Pointer) and isinstance(offset, int)
                env[op] = Pointer(base.memory, base.offset + as_signed(offset, 64))
            case ops.NonNull():
                if env[op.pointer] == NULL:
                    raise Fault("a null pointer is said not to be null")
                env[op] = env[op.pointer]
            case ops.Load():
                env[op] = self.load(op, env[op.pointer])
            case ops.Store():
                self.store(env[op.pointer], op.offset, op.width, env[op.value])
            case ops.MemZero():
                memory, at = self.span(env[op.pointer], op.offset, op.size)
                self.write(memory, at, bytes(op.size))
            case ops.MemCopy():
                memory, at = self.span(env[op.source], op.source_offset, op.size)
                data = bytes(memory.data[at : at + op.size])
                pointers = {o - at: p for o, p in memory.pointers.items() if at <= o < at + op.size}
                memory, at = self.span(env[op.target], op.target_offset, op.size)
                self.write(memory, at, data)
                memory.pointers.update({at + o: p for o, p in pointers.items()})
            case ops.Atomic():
                self.atomic(op, env)
            case ops.MapRef():
                env[op] = Pointer(Memory(op.map, bytearray()))
            case ops.GlobalRef():
                variable = self.module.data[op.section].variable(op.variable)
                assert variable is not None
                env[op] = Pointer(self.globals[op.section], variable.offset)
            case ops.Call():
                result = self.call(self.module.functions[op.function], [env[a] for a in op.args])
                if result is not None:
                    env[op] = result
            case ops.CallHelper():
                env[op] = self.helper(op, [env[a] for a in op.args])
            case _:
                env[op] = compute(op, [o for o in map(env.__getitem__, op.operands()) if isinstance(o, int)])

    # ------------------------------------------------------------ memory

    def span(self, pointer: Runtime, offset: int, size: int) -> tuple[Memory, int]:
        if not isinstance(pointer, Pointer) or pointer.memory is None or pointer.memory.stale:
            raise Fault("access through what is not a valid pointer")
        at = pointer.offset + offset
        if at < 0 or at + size > len(pointer.memory.data):
            raise Fault(f"access to {at}+{size} of {pointer.memory.name}")
        return pointer.memory, at

    def write(self, memory: Memory, at: int, data: bytes) -> None:
        memory.data[at : at + len(data)] = data
        for offset in [o for o in memory.pointers if o < at + len(data) and at < o + 8]:
            del memory.pointers[offset]

    def load(self, op: ops.Load, pointer: Runtime) -> Runtime:
        memory, at = self.span(pointer, op.offset, op.width)
        if isinstance(op.type, PtrTy):
            if memory is self.context:
                end = op.type.space is Space.PACKET_END
                return Pointer(self.packet, len(self.packet.data) if end else 0)
            return memory.pointers.get(at, NULL)
        value = int.from_bytes(memory.data[at : at + op.width], "little", signed=op.signed)
        assert isinstance(op.type, IntTy)
        return value & ((1 << op.type.bits) - 1)

    def store(self, pointer: Runtime, offset: int, width: int, value: Runtime) -> None:
        memory, at = self.span(pointer, offset, width)
        if isinstance(value, Pointer):
            self.write(memory, at, bytes(width) if value == NULL else b"\xff" * width)
            memory.pointers[at] = value
        else:
            self.write(memory, at, (value & ((1 << width * 8) - 1)).to_bytes(width, "little"))

    def atomic(self, op: ops.Atomic, env: dict[Value, Runtime]) -> None:
        memory, at = self.span(env[op.pointer], op.offset, op.width)
        old = int.from_bytes(memory.data[at : at + op.width], "little")
        value = env[op.value]
        assert isinstance(value, int)
        new = {
            ops.AtomicOp.ADD: old + value,
            ops.AtomicOp.AND: old & value,
            ops.AtomicOp.OR: old | value,
            ops.AtomicOp.XOR: old ^ value,
        }[op.op]
        self.store(env[op.pointer], op.offset, op.width, new)

    # ------------------------------------------------------------ helpers

    def helper(self, op: ops.CallHelper, args: list[Runtime]) -> Runtime:
        row = helper_by_id(op.helper)
        assert row is not None
        if row.name == "ktime_get_ns":
            return 1_000  # not in the trace: unused calls may go
        seen: list[object] = [row.name]
        for kind, arg in zip((a.kind for a in row.args), args, strict=False):
            if not isinstance(arg, Pointer) or arg.memory is None:
                seen.append(arg)
                continue
            if arg.memory.stale:
                raise Fault("passes a stale pointer")
            read = kind in READ and arg.memory is not self.packet
            contents = bytes(arg.memory.data[arg.offset :]) if read else b""
            seen.append((arg.memory.name, arg.offset, contents))
        seen += args[len(row.args) :]
        self.trace.append(tuple(seen))
        if row.name == "map_lookup_elem":
            assert isinstance(args[0], Pointer) and args[0].memory is not None
            name = args[0].memory.name
            return NULL if name in self.missing else Pointer(self.values[name])
        if row.changes_packet:
            self.packet.stale = True
            self.packet = Memory("packet", bytearray(reversed(self.packet.data)))
            self.context.data[16] ^= 0xFF
        elif row.name == "xdp_load_bytes":
            assert isinstance(args[2], Pointer) and isinstance(args[3], int)
            memory, at = self.span(args[2], 0, args[3])
            self.write(memory, at, bytes(range(1, args[3] + 1)))
        return 0
