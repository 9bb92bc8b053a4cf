"""Each operation of the SSA in LLVM's assembly.

What LLVM leaves undefined and our SSA defines is written out: the quotient of the least number by -1, and signed
division as a whole below ISA v4, where LLVM's backend has none. What only the kernel's verifier minds is kept
out of LLVM's sight:

- Fields of contexts, sockets and kernel objects are accessed at constant offsets of the pointer as it was given
  (``llvm.preserve.static.offset``, as clang does with ``preserve_static_offset``).
- A pointer into the packet, and its sum with a variable offset, go through an empty ``asm``: the pointer that
  was compared with the packet's end is then the pointer that is used.
- The length of a packet is computed on 64 bits of both bounds, in one place, by the same means.
- So does an index into other memory: LLVM would compute the address before the index is checked, or ``or`` an index
  that it knows to be small to an aligned address.
- So does the result of a division: LLVM would leave out the check of an index that it knows to be small enough from
  the divisor, which the verifier does not.
- So does a sign extension: LLVM would compute an index times a size by shifts of the number before it was extended,
  where only the extended one is checked.

Where LLVM finds the number to be a constant, nothing is hidden (``llvm.is.constant``).
"""

from __future__ import annotations

from pyebpf.backend.llvm_function import FunctionText, function_symbol, is_leaf, literal, type_text
from pyebpf.backend.llvm_process import LlvmRefused
from pyebpf.hints import TYPE_CHECKING, assert_never
from pyebpf.ir import ops
from pyebpf.ir.ops import BinOp, Op, Pred, Value
from pyebpf.ir.types import I1, I64, IntTy, PtrTy, Space, VoidTy
from pyebpf.target import Isa

if TYPE_CHECKING:
    from typing import Final


_FIXED_OFFSETS: Final = frozenset({Space.CTX, Space.SOCKET, Space.KERNEL})
_PACKET: Final = frozenset({Space.PACKET, Space.PACKET_META, Space.PACKET_END})
_BOUNDS: Final = frozenset({"data", "data_end", "data_meta"})
_OFFSET_INTRINSIC: Final = "ptr @llvm.preserve.static.offset(ptr)"


def lower(f: FunctionText, op: Op) -> None:
    """Append the instructions of ``op``; phis and allocas too."""
    f.span = op.span
    if is_leaf(op):
        return
    match op:
        case ops.Phi():
            _phi(f, op)
        case ops.Binary():
            _binary(f, op)
        case ops.Neg():
            f.define(op, f"sub {type_text(op.type)} 0, {f.use(op.operand)}")
        case ops.ByteSwap():
            _byte_swap(f, op)
        case ops.Cmp():
            f.define(op, _comparison(f, op.pred, op.left, op.right))
        case ops.Trunc():
            f.define(op, f"trunc {f.typed(op.operand)} to i32")
        case ops.Zext():
            _extend(f, op, "zext")
        case ops.Sext():
            _extend(f, op, "sext")
        case ops.Alloca():
            f.define(op, f"alloca [{op.size} x i8], align {op.align}")
        case ops.PtrAdd():
            _pointer_add(f, op)
        case ops.NonNull():
            f.define(op, f"getelementptr i8, {f.typed(op.pointer)}, i64 0")
        case ops.Load():
            _load(f, op)
        case ops.Store():
            _store(f, op)
        case ops.MemZero():
            where = _address(f, op.pointer, op.offset)
            signature = "void @llvm.memset.inline.p0.i64(ptr, i8, i64, i1)"
            arguments = f"ptr align {op.align} {where}, i8 0, i64 {op.size}, i1 false"
            f.do(f.intrinsic(signature, arguments))
        case ops.MemCopy():
            to, come = _address(f, op.target, op.target_offset), _address(f, op.source, op.source_offset)
            signature = "void @llvm.memcpy.inline.p0.p0.i64(ptr, ptr, i64, i1)"
            arguments = f"ptr align {op.align} {to}, ptr align {op.align} {come}, i64 {op.size}, i1 false"
            f.do(f.intrinsic(signature, arguments))
        case ops.Atomic():
            where, bits = _address(f, op.pointer, op.offset), 8 * op.width
            value = _resized(f, op.value, bits)
            # Monotonic and without use of the result: the form that does not fetch, which every kernel has.
            f.let(f"atomicrmw {op.op.value} ptr {where}, i{bits} {value} monotonic, align {op.width}")
        case ops.CallHelper():
            _call(f, op, f"inttoptr (i64 {op.helper} to ptr)")
        case ops.CallKfunc():
            parameters = ", ".join(type_text(a.type) for a in op.args)
            line = f"declare {type_text(op.type)} {function_symbol(op.kfunc)}({parameters})"
            f.declared.need(f'{line} section ".ksyms"')
            _call(f, op, function_symbol(op.kfunc))
        case ops.Call():
            _call(f, op, function_symbol(op.function))
        case ops.Jump():
            f.do(f"br label {f.label(op.target)}")
        case ops.Branch():
            _branch(f, op, f.use(op.condition))
        case ops.CompareBranch():
            _branch(f, op, f.let(_comparison(f, op.pred, op.left, op.right)))
        case ops.Return():
            f.do(f"ret {f.typed(op.value)}" if op.value is not None else "ret void")
        case ops.Unreachable():
            _never(f)
        case ops.Const() | ops.Undef() | ops.MapRef() | ops.GlobalRef() | ops.FuncRef():
            raise f.error(f"{type(op).__name__} is written where it is used")
        case ops.ExternRef() | ops.CoreValue() | ops.CoreAddress() | ops.KernelLoad():
            raise LlvmRefused(
                f"{op.span}: LLVM's code generator does not take programs that look into the kernel's "
                "structs or configuration, or take arguments from where a loader says; leave out `--codegen llvm`"
            )
        case _:
            assert_never(op)


# ---------------------------------------------------------------- integers


def _bits(value: Value) -> int:
    return value.type.bits if isinstance(value.type, IntTy) else 64


def _resized(f: FunctionText, value: Value, bits: int) -> str:
    """The integer ``value`` cut to ``bits``, or widened by zeros."""
    have = _bits(value)
    if have == bits:
        return f.use(value)
    return f.let(f"{'trunc' if bits < have else 'zext'} {f.typed(value)} to i{bits}")


def _binary(f: FunctionText, op: ops.Binary) -> None:
    match op.op:
        case BinOp.SDIV | BinOp.SREM if f.target.isa < Isa.V4:
            result = f.let(_division_of_magnitudes(f, op))
        case BinOp.SDIV | BinOp.SREM:
            result = f.let(_signed_division(f, op))
        case BinOp.UDIV | BinOp.UREM:
            result = f.let(_plain(f, op))
        case BinOp.SUB if _is_packet_bound(op.left) and _is_packet_bound(op.right):
            result = f.let(_plain(f, op))
        case _:
            f.define(op, _plain(f, op))
            return
    f.define(op, _unless_constant(f, result, type_text(op.type), result, type_text(op.type)))


def _plain(f: FunctionText, op: ops.Binary) -> str:
    return f"{op.op.value} {f.typed(op.left)}, {f.use(op.right)}"


def _signed_division(f: FunctionText, op: ops.Binary) -> str:
    """LLVM's own, which must not see the divisor -1."""
    ty, bits = type_text(op.type), _bits(op)
    if isinstance(op.right, ops.Const) and op.right.value != (1 << bits) - 1:
        return _plain(f, op)
    minus_one = f.let(f"icmp eq {f.typed(op.right)}, -1")
    divisor = f.let(f"select i1 {minus_one}, {ty} 1, {f.typed(op.right)}")
    if op.op is BinOp.SREM:
        return f"srem {f.typed(op.left)}, {divisor}"
    quotient = f.let(f"sdiv {f.typed(op.left)}, {divisor}")
    negated = f.let(f"sub {ty} 0, {f.use(op.left)}")
    return f"select i1 {minus_one}, {ty} {negated}, {ty} {quotient}"


def _division_of_magnitudes(f: FunctionText, op: ops.Binary) -> str:
    """An unsigned division of the magnitudes, its result given the right sign."""
    ty, bits = type_text(op.type), _bits(op)

    def flip(number: str, sign: str) -> str:
        return f"sub {ty} {f.let(f'xor {ty} {number}, {sign}')}, {sign}"

    left, right = f.use(op.left), f.use(op.right)
    left_sign, right_sign = (f.let(f"ashr {ty} {number}, {bits - 1}") for number in (left, right))
    dividend, divisor = f.let(flip(left, left_sign)), f.let(flip(right, right_sign))
    if op.op is BinOp.SREM:
        return flip(f.let(f"urem {ty} {dividend}, {divisor}"), left_sign)
    sign = f.let(f"xor {ty} {left_sign}, {right_sign}")
    return flip(f.let(f"udiv {ty} {dividend}, {divisor}"), sign)


def _byte_swap(f: FunctionText, op: ops.ByteSwap) -> None:
    ty = f"i{op.bits}"
    call = f.intrinsic(f"{ty} @llvm.bswap.{ty}({ty})", f"{ty} {_resized(f, op.operand, op.bits)}")
    if op.bits == _bits(op):
        f.define(op, call)
    else:
        f.define(op, f"zext {ty} {f.let(call)} to {type_text(op.type)}")


def _extend(f: FunctionText, op: ops.Zext | ops.Sext, how: str) -> None:
    """Of the operand the low ``bits`` first."""
    bits = 1 if op.operand.type == I1 else op.bits
    if bits < _bits(op):
        text = f"{how} i{bits} {_resized(f, op.operand, bits)} to {type_text(op.type)}"
        f.define(op, _kept_extension(f, op, text) if how == "sext" else text)
    elif bits < _bits(op.operand):
        f.define(op, f"trunc {f.typed(op.operand)} to {type_text(op.type)}")
    else:
        f.define(op, f"or {f.typed(op.operand)}, 0")


def _kept_extension(f: FunctionText, op: Value, text: str) -> str:
    """The sign extension ``text`` as an operation that is not merged with others."""
    extended, ty = f.let(text), type_text(op.type)
    return _unless_constant(f, extended, ty, extended, ty)


def _comparison(f: FunctionText, pred: Pred, left: Value, right: Value) -> str:
    if pred is Pred.TEST:
        common = f.let(f"and {f.typed(left)}, {f.use(right)}")
        return f"icmp ne {type_text(left.type)} {common}, {literal(0, _bits(left))}"
    return f"icmp {pred.value} {f.typed(left)}, {f.use(right)}"


# ---------------------------------------------------------------- memory


def _space(value: Value) -> Space | None:
    return value.type.space if isinstance(value.type, PtrTy) else None


def _is_packet_bound(value: Value) -> bool:
    """Whether ``value`` is the start or end of the packet read as a number, of which the verifier knows better."""
    return (
        isinstance(value, ops.Load)
        and value.name in _BOUNDS
        and value.width == 4
        and value.type == I64
        and _space(value.pointer) is Space.CTX
    )


def _address(f: FunctionText, pointer: Value, offset: int) -> str:
    """``pointer + offset`` for an access."""
    if _space(pointer) in _FIXED_OFFSETS:
        base = f.let(f.intrinsic(_OFFSET_INTRINSIC, f"ptr {f.use(pointer)}"))
        return f.let(f"getelementptr inbounds i8, ptr {base}, i64 {offset}")
    return f.let(f"getelementptr i8, {f.typed(pointer)}, i64 {offset}") if offset else f.use(pointer)


def _opaque(value: str, type_: str = "ptr", result: str = "ptr") -> str:
    """An instruction whose result is ``value``, of which LLVM knows nothing any more."""
    return f'call {result} asm "", "=r,0"({type_} {value}) nounwind willreturn memory(none)'


def _unless_constant(f: FunctionText, value: str, type_: str, decides: str, its_type: str) -> str:
    """An instruction whose result is ``value``, opaque unless LLVM finds the integer ``decides`` to be a constant."""
    call = f.intrinsic(f"i1 @llvm.is.constant.{its_type}({its_type})", f"{its_type} {decides}")
    known, hidden = f.let(call), f.let(_opaque(value, type_, type_))
    return f"select i1 {known}, {type_} {value}, {type_} {hidden}"


def _pointer_add(f: FunctionText, op: ops.PtrAdd) -> None:
    base, offset = f.typed(op.base), op.offset
    if isinstance(offset, ops.Const):
        f.define(op, f"getelementptr i8, {base}, i64 {f.use(offset)}")
    elif _space(op) in _PACKET:
        pointer = f.let(f"getelementptr i8, {base}, i64 {f.use(offset)}")
        f.define(op, _unless_constant(f, pointer, "ptr", f.use(offset), "i64"))
    else:
        f.define(op, f"getelementptr i8, {base}, i64 {_kept_index(f, offset)}")


def _kept_index(f: FunctionText, offset: Value) -> str:
    """The number ``offset``, computed of its index at this place and no earlier."""
    match offset:
        case ops.Binary(op=BinOp.MUL | BinOp.SHL, left=index, right=ops.Const()):
            kept = f.let(_unless_constant(f, f.use(index), "i64", f.use(index), "i64"))
            return f.let(f"{offset.op.value} i64 {kept}, {f.use(offset.right)}")
        case _:
            return f.let(_unless_constant(f, f.use(offset), "i64", f.use(offset), "i64"))


def _load(f: FunctionText, op: ops.Load) -> None:
    where, bits = _address(f, op.pointer, op.offset), 8 * op.width
    if isinstance(op.type, PtrTy) and bits == 64:
        f.define(op, f"load ptr, ptr {where}, align 8")
    elif isinstance(op.type, PtrTy) or _is_packet_bound(op):
        held = f.let(f"load i{bits}, ptr {where}, align {op.width}")
        f.define(op, _opaque(f.let(f"zext i{bits} {held} to i64"), "i64", type_text(op.type)))
    elif bits == _bits(op):
        f.define(op, f"load i{bits}, ptr {where}, align {op.width}")
    else:
        held = f.let(f"load i{bits}, ptr {where}, align {op.width}")
        text = f"{'sext' if op.signed else 'zext'} i{bits} {held} to {type_text(op.type)}"
        f.define(op, _kept_extension(f, op, text) if op.signed else text)


def _store(f: FunctionText, op: ops.Store) -> None:
    where = _address(f, op.pointer, op.offset)
    if isinstance(op.value.type, PtrTy):
        f.do(f"store {f.typed(op.value)}, ptr {where}, align 8")
    else:
        bits = 8 * op.width
        f.do(f"store i{bits} {_resized(f, op.value, bits)}, ptr {where}, align {op.width}")


# ---------------------------------------------------------------- control


def _phi(f: FunctionText, op: ops.Phi) -> None:
    inputs = ", ".join(f"[ {f.use(value)}, {f.label(block)} ]" for block, value in op.incoming.items())
    f.define(op, f"phi {type_text(op.type)} {inputs}")


def _call(f: FunctionText, op: ops.CallHelper | ops.CallKfunc | ops.Call, callee: str) -> None:
    text = f"call {type_text(op.type)} {callee}({', '.join(f.typed(a) for a in op.args)})"
    if isinstance(op.type, VoidTy):
        f.do(text)
    else:
        f.define(op, text)


def _never(f: FunctionText) -> None:
    """Where LLVM's ``unreachable`` stays, its backend calls a trap that only new kernels have (``__bpf_trap``)."""
    match f.function.result:
        case VoidTy():
            f.do("ret void")
        case PtrTy():
            f.do("ret ptr null")
        case IntTy(bits=bits):
            f.do(f"ret i{bits} {literal(0, bits)}")


def _branch(f: FunctionText, op: ops.Branch | ops.CompareBranch, condition: str) -> None:
    if op.then is op.otherwise:
        # Our phis have one input for each predecessor, LLVM's one for each edge.
        f.do(f"br label {f.label(op.then)}")
        return
    text = f"br i1 {condition}, label {f.label(op.then)}, label {f.label(op.otherwise)}"
    f.do(f"{text}, !prof {f.unlikely()}" if op.unlikely else text)
