"""The reference evaluator: what a typed tree means, small, obvious and slow.

It shares nothing with the compiler but the tree and the layouts. Integers are Python integers, brought into the
range of their type after each operation; memory is bytearrays; exceptions of the program are ``Raised``.
"""

from __future__ import annotations

import operator
import re
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, assert_never

from pyebpf.declare import GlobalDecl, MapDecl
from pyebpf.diagnostics import Span
from pyebpf.frontend import tree
from pyebpf.frontend.tree import ArithOp, CompareOp, Exc, Missing
from pyebpf.frontend.types import Bool, Int, Maybe, NoneT, Ref
from pyebpf.layout import ArrayType, BytesType, IntType, Layout, Order, StructType
from pyebpf.uapi.constants import MapType

E2BIG, ENOENT, EEXIST, EINVAL, EAGAIN = 7, 2, 17, 22, 11
PAGE = 4096
ETH_HLEN = 14
FRAME_HEADER = 40
"""What the kernel keeps free at the start of the headroom, ``sizeof(struct xdp_frame)``."""
NOEXIST, EXIST = 1, 2


@dataclass(slots=True)
class Reference:
    """A place in memory."""

    memory: bytearray
    offset: int


@dataclass(slots=True)
class Context:
    """The argument of a program: the packet as the program sees it, and the scalar fields by name."""

    packet: bytearray
    fields: dict[str, int] = field(default_factory=dict)
    meta: bytearray = field(default_factory=bytearray)
    headroom: bytearray = field(default_factory=lambda: bytearray(256))


class Raised(Exception):
    """An exception of the program."""

    def __init__(self, exception: Exc, errno: int = 0) -> None:
        self.exception = exception
        self.errno = errno


class _Break(Exception):
    pass


class _Continue(Exception):
    pass


class _Return(Exception):
    def __init__(self, value: Any) -> None:
        self.value = value


class _TailCalled(Exception):
    def __init__(self, program: tree.Function) -> None:
        self.program = program


@dataclass(frozen=True, slots=True)
class Departure:
    """Where a run leaves what Python's integers do. ``kept``: the type whose low bits were kept of a value, and none where
    64 bits were exceeded or another update came between the reading and the writing of one."""

    span: Span
    kept: str = ""


class OutOfScope(Exception):
    """The program uses something whose result the evaluator cannot know (time, kernel state)."""


def _length(key: bytes) -> int:
    """The length in bits of a trie's key, which begins with it."""
    return int.from_bytes(key[:4], "little")


def _prefix(key: bytes, length: int | None = None) -> int:
    """The first bits of a trie's key."""
    return int.from_bytes(key[4:], "big") >> 8 * (len(key) - 4) - (_length(key) if length is None else length)


@dataclass(slots=True)
class MapState:
    """The contents of a map."""

    decl: MapDecl
    values: dict[bytes, bytearray] = field(default_factory=dict)
    sequence: deque[bytes] = field(default_factory=deque)
    records: list[bytearray] = field(default_factory=list)
    produced: int = 0
    programs: dict[int, tree.Function] = field(default_factory=dict)

    def produce(self, size: int) -> bool:
        """Take room for a record of a ring buffer, whose header has 8 bytes; whether there was any. What is discarded takes
        its room until the buffer is read (kernel/bpf/ringbuf.c)."""
        room = 1 << (max(self.decl.max_entries, PAGE) - 1).bit_length()
        more = (size + 8 + 7) & ~7
        if self.produced + more >= room:
            return False
        self.produced += more
        return True

    def __post_init__(self) -> None:
        if self.decl.type in (MapType.ARRAY, MapType.PERCPU_ARRAY) and self.decl.value is not None:
            for index in range(self.decl.max_entries):
                self.values[index.to_bytes(4, "little")] = bytearray(self.decl.value.size)

    @property
    def is_array(self) -> bool:
        """Whether keys are indexes that always exist."""
        return self.decl.type in (MapType.ARRAY, MapType.PERCPU_ARRAY)

    def find(self, key: bytes) -> bytearray | None:
        """The value of ``key``: for a trie that of the longest matching prefix."""
        if self.decl.type is not MapType.LPM_TRIE:
            return self.values.get(key)
        matching = [
            k for k in self.values if _length(k) <= _length(key) and _prefix(key, _length(k)) == _prefix(k)
        ]
        return self.values[max(matching, key=_length)] if matching else None

    def same(self, key: bytes) -> bytes:
        """The stored key that ``key`` replaces: in a trie one with the same prefix, whatever follows it."""
        if self.decl.type is not MapType.LPM_TRIE:
            return key
        return next(
            (k for k in self.values if _length(k) == _length(key) and _prefix(k) == _prefix(key)), key
        )

    def update(self, key: bytes, value: bytes, flags: int) -> int:
        """0 or a negative error number, as the kernel answers."""
        if self.decl.type is MapType.LPM_TRIE and _length(key) > 8 * (len(key) - 4):
            return -EINVAL
        old = self.same(key)
        there = old in self.values
        if self.is_array:
            if not there:
                return -E2BIG
            if flags == NOEXIST:
                return -EEXIST
        elif there and flags == NOEXIST:
            return -EEXIST
        elif not there and flags == EXIST:
            return -ENOENT
        elif not there and len(self.values) >= self.decl.max_entries:
            if self.decl.type is MapType.LRU_HASH:
                raise OutOfScope("which key an LRU map throws out")
            return -E2BIG
        if old != key:
            del self.values[old]
        if there and self.is_array:
            self.values[key][:] = value
        else:
            self.values[key] = bytearray(value)
        return 0

    def delete(self, key: bytes) -> int:
        """0 or a negative error number."""
        if self.is_array:
            return -EINVAL
        return 0 if self.values.pop(self.same(key), None) is not None else -ENOENT


@dataclass(slots=True)
class _Activation:
    """One call: the variables in cells (shared with callbacks) and the storage slots of constructing nodes."""

    cells: dict[int, list[Any]] = field(default_factory=dict)
    slots: dict[int, bytearray] = field(default_factory=dict)
    handling: list[Raised] = field(default_factory=list)

    def cell(self, local: tree.Local) -> list[Any]:
        return self.cells.setdefault(id(local), [None])

    def slot(self, node: object, size: int) -> bytearray:
        memory = self.slots.setdefault(id(node), bytearray(size))
        memory[:] = bytes(size)
        return memory


def in_range(value: int, of: Int) -> int:
    """``value`` brought into the 64 bits of its type."""
    low = value & (2**64 - 1)
    return low if of.unsigned or low < 2**63 else low - 2**64


def wrap(value: int, layout: IntType) -> int:
    """The low bits of ``value`` as ``layout`` holds them."""
    low = value & ((1 << layout.bits) - 1)
    return low - (1 << layout.bits) if layout.signed and low >> (layout.bits - 1) else low


def _byteorder(layout: IntType) -> Any:
    return "big" if layout.order is Order.BIG else "little"


def encode(value: int, layout: IntType) -> bytes:
    """``value`` as it lies in memory."""
    return (value & ((1 << layout.bits) - 1)).to_bytes(layout.size, _byteorder(layout))


def decode(data: bytes, layout: IntType) -> int:
    """The integer that lies in memory."""
    return int.from_bytes(data, _byteorder(layout), signed=layout.signed)


def initial(value: Any, layout: Layout) -> bytes:
    """The bytes of a Python value as the initial contents of a variable."""
    match layout:
        case IntType():
            return encode(value, layout)
        case BytesType(length=length):
            return bytes(value).ljust(length, b"\0")
        case ArrayType(element=element):
            return b"".join(initial(v, element) for v in value).ljust(layout.size, b"\0")
        case StructType():
            out = bytearray(layout.size)
            for f in layout.fields:
                out[f.offset : f.offset + f.layout.size] = initial(getattr(value, f.name), f.layout)
            return bytes(out)
        case _:
            assert_never(layout)


def _without_length(found: re.Match[bytes]) -> bytes:
    return found[0].removesuffix(b"ll")


def _layout(node: tree.Expr) -> Any:
    """What the reference that ``node`` gives refers to."""
    assert isinstance(node.type, Ref)
    return node.type.layout


_ARITHMETIC: dict[ArithOp, Callable[[int, int], int]] = {
    ArithOp.ADD: operator.add,
    ArithOp.SUB: operator.sub,
    ArithOp.MUL: operator.mul,
    ArithOp.FLOORDIV: operator.floordiv,
    ArithOp.MOD: operator.mod,
    ArithOp.AND: operator.and_,
    ArithOp.OR: operator.or_,
    ArithOp.XOR: operator.xor,
    ArithOp.SHL: operator.lshift,
    ArithOp.SHR: operator.rshift,
}
_COMPARISONS: dict[CompareOp, Callable[[int, int], bool]] = {
    CompareOp.EQ: operator.eq,
    CompareOp.NE: operator.ne,
    CompareOp.LT: operator.lt,
    CompareOp.LE: operator.le,
    CompareOp.GT: operator.gt,
    CompareOp.GE: operator.ge,
}


class Evaluator:
    """Runs the programs of a unit. Maps and globals keep their contents from run to run, as in the kernel."""

    def __init__(self, unit: tree.Unit) -> None:
        self.unit = unit
        self.maps: dict[int, MapState] = {id(decl): MapState(decl) for decl in unit.maps}
        self.globals: dict[int, bytearray] = {}
        self.printed: list[tuple[bytes, tuple[Any, ...]]] = []
        self.tail_calls = 0
        self.departures: set[Departure] = set()

    def map(self, decl: MapDecl) -> MapState:
        """The contents of a map."""
        return self.maps.setdefault(id(decl), MapState(decl))

    def memory_of(self, decl: GlobalDecl) -> bytearray:
        """The contents of a global."""
        return self.globals.setdefault(id(decl), bytearray(initial(decl.initial, decl.layout)))

    def run(self, program: tree.Function, context: Context) -> int:
        """The verdict of ``program`` on ``context``: the low 32 bits, signed."""
        self.tail_calls = 0
        while True:
            activation = _Activation()
            for parameter in program.params:  # the context, if the program wants it
                activation.cell(parameter)[0] = context
            try:
                self._body(program.body, activation)
                raise AssertionError("an entry function fell off its end")
            except _Return as result:
                value = result.value
            except Raised:
                value = program.error_verdict
            except _TailCalled as call:
                program = call.program
                continue
            return wrap(int(value), IntType(32, True))

    # ------------------------------------------------------------ statements

    def _body(self, body: Iterable[tree.Stmt], act: _Activation) -> None:
        for statement in body:
            self._statement(statement, act)

    def _statement(self, statement: tree.Stmt, act: _Activation) -> None:
        match statement:
            case tree.SetLocal(local=local, value=value):
                act.cell(local)[0] = self._value(value, act)
            case tree.StoreTo(ref=ref, value=value):
                place = self._value(ref, act)
                self._store(place, ref, self._value(value, act))
            case tree.UpdateTo():
                self._update(statement, act)
            case tree.CopyInto(target=target, source=source):
                to, come = self._value(target, act), self._value(source, act)
                size, given = _layout(target).size, _layout(source).size
                to.memory[to.offset : to.offset + size] = self._bytes(come, given)[:size].ljust(size, b"\0")
            case tree.StoreContext(context=context, row=row, index=index, value=value):
                self._value(context, act).fields[f"{row.name}[{index}]" if row.length else row.name] = (
                    self._value(value, act) & ((1 << (8 * row.size)) - 1)
                )
            case tree.Evaluate(value=value):
                self._value(value, act)
            case tree.If(test=test, body=body, orelse=orelse):
                self._body(body if self._value(test, act) else orelse, act)
            case tree.While(test=test, body=body, orelse=orelse):
                self._loop(iter(lambda: self._value(test, act), False), lambda _: None, body, orelse, act)
            case tree.ForRange(local=local, start=start, stop=stop, step=step, body=body, orelse=orelse):
                first, last = self._value(start, act), self._value(stop, act)

                def assign(i: int) -> None:
                    act.cell(local)[0] = i

                self._loop(range(first, last, step), assign, body, orelse, act)
            case tree.ForConstants(local=local, values=values, body=body, orelse=orelse):

                def assign_constant(i: int) -> None:
                    act.cell(local)[0] = i

                self._loop(values, assign_constant, body, orelse, act)
            case tree.Break():
                raise _Break
            case tree.Continue():
                raise _Continue
            case tree.Return(value=value):
                raise _Return(None if value is None else self._value(value, act))
            case tree.TailCall(map=decl, index=index):
                target_program = self.map(decl).programs.get(self._value(index, act))
                self.tail_calls += 1
                if target_program is None or self.tail_calls > 33:
                    raise Raised(Exc.KEY)
                raise _TailCalled(target_program)
            case tree.Raise(exception=exception, errno=errno):
                raise Raised(exception, 0 if errno is None else self._value(errno, act))
            case tree.Reraise():
                raise act.handling[-1]
            case tree.Try():
                self._try(statement, act)
            case tree.Reserve(map=decl, local=local, layout=layout, body=body):
                state, record = self.map(decl), bytearray(layout.size)
                records = state.records
                if state.produce(layout.size):
                    records.append(record)  # its place is where it was reserved
                    act.cell(local)[0] = Reference(record, 0)
                else:
                    act.cell(local)[0] = None
                try:
                    self._body(body, act)
                except Raised:
                    records[:] = [other for other in records if other is not record]
                    raise
            case _:
                assert_never(statement)

    def _loop(
        self,
        items: Iterable[int],
        assign: Callable[[int], None],
        body: tree.Body,
        orelse: tree.Body,
        act: _Activation,
    ) -> None:
        for item in items:
            assign(item)
            try:
                self._body(body, act)
            except _Break:
                return
            except _Continue:
                continue
        self._body(orelse, act)

    def _try(self, statement: tree.Try, act: _Activation) -> None:
        try:
            try:
                self._body(statement.body, act)
            except Raised as raised:
                for handler in statement.handlers:
                    if any(raised.exception.is_a(exc) for exc in handler.catches):
                        if handler.errno is not None:
                            act.cell(handler.errno)[0] = raised.errno
                        act.handling.append(raised)
                        try:
                            self._body(handler.body, act)
                        finally:
                            act.handling.pop()
                        break
                else:
                    raise
            else:
                self._body(statement.orelse, act)
        finally:
            self._body(statement.final, act)

    def _update(self, statement: tree.UpdateTo, act: _Activation) -> None:
        place = self._value(statement.ref, act)
        layout = _layout(statement.ref)
        before = self._bytes(place, layout.size)
        value = self._value(statement.value, act)
        old = decode(self._bytes(place, layout.size), layout)
        if self._bytes(place, layout.size) != before or not self._holds(statement.ref, place):
            self.departures.add(Departure(statement.span))
        if statement.op in (ArithOp.FLOORDIV, ArithOp.MOD) and value == 0:
            raise Raised(Exc.ZERO_DIVISION)
        new = in_range(_ARITHMETIC[statement.op](old, value), statement.compute)
        self._store(place, statement.ref, new)

    def _holds(self, ref: tree.Expr, place: Reference) -> bool:
        """Whether what was looked up in a map is still there."""
        if not isinstance(ref, tree.MapLookup):
            return True
        return any(value is place.memory for value in self.map(ref.map).values.values())

    def _in_range(self, value: int, of: Int, span: Span, kept: str = "") -> int:
        held = in_range(value, of)
        if held != value:
            self.departures.add(Departure(span, kept))
        return held

    def _store(self, place: Reference, ref: tree.Expr, value: int) -> None:
        layout = _layout(ref)
        place.memory[place.offset : place.offset + layout.size] = encode(int(value), layout)

    def _bytes(self, place: Reference, size: int) -> bytes:
        return bytes(place.memory[place.offset : place.offset + size])

    # ------------------------------------------------------------ expressions

    def _value(self, node: tree.Expr, act: _Activation) -> Any:
        match node:
            case tree.IntConst(value=value, type=of):
                return bool(value) if isinstance(of, Bool) else value
            case tree.NullConst():
                return None
            case tree.GetLocal(local=local):
                return act.cell(local)[0]
            case tree.Bind(local=local, value=value):
                act.cell(local)[0] = result = self._value(value, act)
                return result
            case tree.Arith(op=op, left=left, right=right, type=of):
                a, b = self._value(left, act), self._value(right, act)
                if op in (ArithOp.FLOORDIV, ArithOp.MOD) and b == 0:
                    assert node.may_be_zero, "the tree says that the divisor is never zero"
                    raise Raised(Exc.ZERO_DIVISION)
                return self._in_range(_ARITHMETIC[op](a, b), of, node.span)
            case tree.Negate(operand=operand, type=of):
                return self._in_range(-self._value(operand, act), of, node.span)
            case tree.Invert(operand=operand, type=of):
                return self._in_range(~self._value(operand, act), of, node.span)
            case tree.Compare(op=op, left=left, right=right):
                return _COMPARISONS[op](self._value(left, act), self._value(right, act))
            case (
                tree.AddressAs()
                | tree.KernelMember()
                | tree.KernelElement()
                | tree.KernelRead()
                | tree.FarCopy()
                | tree.UserRead()
                | tree.UserMember()
                | tree.CoreFact()
                | tree.KernelSetting()
                | tree.SyscallRegisters()
                | tree.SyscallArgument()
                | tree.UsdtRecord()
                | tree.UsdtArgument()
                | tree.UsdtCookie()
                | tree.EventData()
            ):
                raise OutOfScope("memory of the kernel or of a user")
            case tree.IsNone(operand=operand, negated=negated):
                return (self._value(operand, act) is None) != negated
            case tree.Truth(operand=operand):
                return self._value(operand, act) != 0
            case tree.Not(operand=operand):
                return not self._value(operand, act)
            case tree.Logic(conjunction=conjunction, operands=operands):
                test = all if conjunction else any
                return test(self._value(o, act) for o in operands)
            case tree.Conditional(test=condition, then=then, otherwise=otherwise):
                return self._value(then if self._value(condition, act) else otherwise, act)
            case tree.ToInt(operand=operand):
                return int(self._value(operand, act))
            case tree.Reinterpret(operand=operand, type=of):
                return self._in_range(
                    self._value(operand, act), of, node.span, "u64" if of.unsigned else "i64"
                )
            case tree.Wrap(layout=layout, operand=operand):
                whole = self._value(operand, act)
                low = wrap(whole, layout)
                if low != whole:
                    sign = "i" if layout.signed else "u"
                    self.departures.add(Departure(node.span, f"{sign}{layout.bits}"))
                return low
            case tree.SwapBytes(bits=bits, operand=operand):
                low = self._value(operand, act) & ((1 << bits) - 1)
                return int.from_bytes(low.to_bytes(bits // 8, "little"), "big")
            case tree.Log2(operand=operand):
                return max((self._value(operand, act) & (2**64 - 1)).bit_length() - 1, 0)
            case tree.EqualBytes(left=left, right=right, length=length):
                return self._bytes(self._value(left, act), length) == self._bytes(
                    self._value(right, act), length
                )
            case tree.LengthOfBytes(ref=ref):
                return len(self._bytes(self._value(ref, act), _layout(ref).size).split(b"\0", 1)[0])
            case tree.Read(ref=ref):
                layout = _layout(ref)
                return decode(self._bytes(self._value(ref, act), layout.size), layout)
            case tree.HelperCall():
                return self._helper(node, act)
            case tree.MapHandle(map=decl):
                return self.map(decl)
            case tree.FunctionHandle(function=function):
                return function
            case tree.Print(format=text, args=args):
                self.printed.append((text, tuple(self._value(a, act) for a in args)))
                return None
            case tree.FunctionCall(function=function, args=args):
                return self._call(function, [self._value(a, act) for a in args], act)
            case tree.LoopCall():
                return self._bpf_loop(node, act)
            case (
                tree.MapLookup()
                | tree.MapUpdate()
                | tree.MapDelete()
                | tree.MapPush()
                | tree.MapPop()
                | tree.RingOutput()
            ):
                return self._map_operation(node, act)
            case (
                tree.ContextField()
                | tree.PacketLength()
                | tree.PacketView()
                | tree.PacketCopy()
                | tree.PacketStore()
            ):
                return self._packet_operation(node, act)
            case _:
                return self._reference(node, act)

    def _reference(
        self,
        node: tree.ConstData
        | tree.NewStruct
        | tree.NewArray
        | tree.CopyOf
        | tree.FieldOf
        | tree.ElementOf
        | tree.SliceOf
        | tree.GlobalVar,
        act: _Activation,
    ) -> Reference:
        match node:
            case tree.ConstData(data=data, type=of):
                return Reference(bytearray(data.ljust(of.layout.size, b"\0")), 0)
            case tree.NewStruct(struct=struct, values=values):
                items = [(f, self._value(v, act), v) for f, v in values]
                place = Reference(act.slot(node, struct.size), 0)
                for f, value, expr in items:
                    self._fill(Reference(place.memory, f.offset), f.layout, value, expr)
                return place
            case tree.NewArray(layout=layout, items=expressions):
                given = [(self._value(e, act), e) for e in expressions]
                place = Reference(act.slot(node, layout.size), 0)
                element = layout.element if isinstance(layout, ArrayType) else IntType(8, False)
                for i, (value, expr) in enumerate(given):
                    self._fill(Reference(place.memory, i * element.size), element, value, expr)
                return place
            case tree.CopyOf(source=source, type=of):
                data = self._bytes(self._value(source, act), _layout(source).size)
                memory = act.slot(node, of.layout.size)
                memory[:] = data[: of.layout.size].ljust(of.layout.size, b"\0")
                return Reference(memory, 0)
            case tree.FieldOf(base=base, field=f):
                place = self._value(base, act)
                return Reference(place.memory, place.offset + f.offset)
            case tree.ElementOf(base=base, index=index, checked=checked):
                place, i = self._value(base, act), self._value(index, act)
                layout = _layout(base)
                length = layout.length
                if i < 0:
                    i += length
                if not 0 <= i < length:
                    assert checked, "the tree says that the index is always inside"
                    raise Raised(Exc.INDEX)
                return Reference(place.memory, place.offset + i * (layout.size // length))
            case tree.SliceOf(base=base, start=start):
                place = self._value(base, act)
                layout = _layout(base)
                return Reference(place.memory, place.offset + start * (layout.size // layout.length))
            case tree.GlobalVar(decl=decl):
                return Reference(self.memory_of(decl), 0)
            case _:
                assert_never(node)

    def _fill(self, place: Reference, layout: Layout, value: Any, expr: tree.Expr) -> None:
        if isinstance(layout, IntType) and not isinstance(value, Reference):
            data = encode(int(value), layout)
        else:
            given = _layout(expr).size
            data = self._bytes(value, given)[: layout.size].ljust(layout.size, b"\0")
        place.memory[place.offset : place.offset + layout.size] = data

    # ------------------------------------------------------------ calls

    def _call(self, function: tree.Function, args: list[Any], outer: _Activation) -> Any:
        act = _Activation()
        for local in function.captures:
            act.cells[id(local)] = outer.cell(local)
        for local, value in zip(function.params, args, strict=True):
            act.cell(local)[0] = value
        try:
            self._body(function.body, act)
        except _Return as result:
            return result.value
        assert isinstance(function.result, NoneT | Maybe), "a function with a result fell off its end"
        return None

    def _bpf_loop(self, node: tree.LoopCall, act: _Activation) -> int:
        count: int = self._value(node.count, act)
        state = () if node.state is None else (self._value(node.state, act),)
        for i in range(count):
            if self._call(node.body, [i, *state][: len(node.body.params)], act):
                return i + 1
        return max(count, 0)

    # ------------------------------------------------------------ maps

    def _stored(self, value: Any, expr: tree.Expr, layout: Layout | None) -> bytes:
        assert layout is not None
        if isinstance(value, Reference):
            given = _layout(expr).size
            return self._bytes(value, given)[: layout.size].ljust(layout.size, b"\0")
        assert isinstance(layout, IntType)
        return encode(int(value), layout)

    def _map_operation(
        self,
        node: tree.MapLookup | tree.MapUpdate | tree.MapDelete | tree.MapPush | tree.MapPop | tree.RingOutput,
        act: _Activation,
    ) -> Any:
        state, decl = self.map(node.map), node.map
        match node:
            case tree.MapLookup(key=key, missing=missing):
                raw = self._stored(self._value(key, act), key, decl.key)
                found = state.find(raw)
                if found is None and missing is Missing.INSERT:
                    assert decl.default is not None and isinstance(decl.value, IntType)
                    state.update(raw, encode(decl.default, decl.value), NOEXIST)
                    found = state.find(raw)
                    if found is None:
                        raise Raised(Exc.OS, E2BIG)
                if found is None:
                    if missing is Missing.RAISE:
                        raise Raised(Exc.KEY)
                    return None
                return Reference(found, 0)
            case tree.MapUpdate(key=key, value=value, flags=flags, checked=checked):
                raw = self._stored(self._value(key, act), key, decl.key)
                new = self._stored(self._value(value, act), value, decl.value)
                return self._errno(state.update(raw, new, self._value(flags, act)), checked, Exc.OS)
            case tree.MapDelete(key=key, checked=checked):
                raw = self._stored(self._value(key, act), key, decl.key)
                return self._errno(state.delete(raw), checked, Exc.KEY)
            case tree.MapPush(value=value, flags=flags, checked=checked):
                new = self._stored(self._value(value, act), value, decl.value)
                replace = self._value(flags, act) == EXIST
                if len(state.sequence) >= decl.max_entries:
                    if not replace:
                        return self._errno(-E2BIG, checked, Exc.OS)
                    state.sequence.popleft()
                state.sequence.append(new)
                return 0
            case tree.MapPop(peek=peek, type=of):
                if not state.sequence:
                    raise Raised(Exc.INDEX)
                at = -1 if decl.type is MapType.STACK else 0
                data = state.sequence[at]
                if not peek:
                    del state.sequence[at]
                memory = act.slot(node, of.layout.size)
                memory[:] = data
                return Reference(memory, 0)
            case tree.RingOutput(value=value):
                data = self._bytes(self._value(value, act), _layout(value).size)
                if not state.produce(len(data)):
                    return -EAGAIN
                state.records.append(bytearray(data))
                return 0
            case _:
                assert_never(node)

    def _errno(self, result: int, checked: bool, exception: Exc) -> int:
        if result < 0 and checked:
            raise Raised(exception, -result)
        return result

    # ------------------------------------------------------------ contexts and packets

    def _helper(self, node: tree.HelperCall, act: _Activation) -> int:
        """``snprintf``, and the helpers that move the ends of a frame; a test run gives it room for 256 zero bytes before
        and more after."""
        if node.helper.name == "snprintf":
            return self._snprintf(node, act)
        if node.helper.name == "for_each_map_elem":
            return self._for_each(node, act)
        if node.helper.name not in ("xdp_adjust_head", "xdp_adjust_tail"):
            raise OutOfScope(f"the helper {node.helper.name}")
        context, given = (self._value(arg, act) for arg in node.args)
        delta = wrap(given, IntType(32, True))
        packet: bytearray = context.packet
        if node.helper.name == "xdp_adjust_head":
            if delta > len(packet) - ETH_HLEN or len(context.headroom) + delta < FRAME_HEADER:
                return self._errno(-EINVAL, node.checked, Exc.OS)
            start = len(context.headroom) + delta
            frame = context.headroom + packet  # what was cut off comes back
            context.headroom[:], packet[:] = frame[:start], frame[start:]
        else:
            if len(packet) + delta < ETH_HLEN:
                return self._errno(-EINVAL, node.checked, Exc.OS)
            packet[len(packet) + min(delta, 0) :] = bytes(max(delta, 0))
        return 0

    def _for_each(self, node: tree.HelperCall, act: _Activation) -> int:
        """Calls the function for each element until it returns something true; how many elements that were."""
        state, function, given, flags = (self._value(arg, act) for arg in node.args)
        if flags:
            return self._errno(-EINVAL, node.checked, Exc.OS)
        for number, (key, value) in enumerate(list(state.values.items()), 1):
            if self._call(function, [state, Reference(bytearray(key), 0), Reference(value, 0), given], act):
                return number
        return len(state.values)

    def _snprintf(self, node: tree.HelperCall, act: _Activation) -> int:
        """The text with a NUL, as far as there is room, and how many bytes the whole takes. ``ll`` is all that C has more
        than Python's ``%``."""
        target, size, form, data, _ = node.args
        assert isinstance(form, tree.ConstData)
        values = [self._value(item, act) for item in data.items] if isinstance(data, tree.NewArray) else []
        text = re.sub(rb"%([-+ 0]*[0-9]*)ll|%%", _without_length, form.data.rstrip(b"\0")) % tuple(values)
        place, room = self._value(target, act), self._value(size, act)
        written = text[: room - 1] + b"\0"
        place.memory[place.offset : place.offset + len(written)] = written
        return len(text) + 1

    def _packet_operation(
        self,
        node: tree.ContextField | tree.PacketLength | tree.PacketView | tree.PacketCopy | tree.PacketStore,
        act: _Activation,
    ) -> Any:
        context: Context = self._value(node.context, act)
        match node:
            case tree.ContextField(row=row, index=index):
                if row.name == "len":
                    return len(context.packet)
                name = f"{row.name}[{index}]" if row.length else row.name
                if name not in context.fields:
                    raise OutOfScope(f"the context field {name}")
                return context.fields[name]
            case tree.PacketLength():
                return len(context.packet)
            case tree.PacketView(offset=offset, type=of, meta=meta):
                memory = context.meta if meta else context.packet
                at = self._value(offset, act)
                if not 0 <= at <= 0xFFFF or at + of.layout.size > len(memory):
                    raise Raised(Exc.INDEX)
                return Reference(memory, at)
            case tree.PacketCopy(offset=offset, type=of):
                at = self._value(offset, act)
                if not 0 <= at <= 0xFFFF or at + of.layout.size > len(context.packet):
                    raise Raised(Exc.INDEX)
                copy = act.slot(node, of.layout.size)
                copy[:] = context.packet[at : at + of.layout.size]
                return Reference(copy, 0)
            case tree.PacketStore(offset=offset, value=value, layout=layout):
                at = self._value(offset, act)
                data = self._stored(self._value(value, act), value, layout)
                if not 0 <= at <= 0xFFFF or at + len(data) > len(context.packet):
                    raise Raised(Exc.INDEX)
                context.packet[at : at + len(data)] = data
                return None
            case _:
                assert_never(node)
