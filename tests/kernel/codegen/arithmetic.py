"""What the operations of the SSA mean, in Python: the judge of the tests beside it."""

from __future__ import annotations

from pyebpf.ir.ops import BinOp, Pred


def signed(value: int, bits: int) -> int:
    """The low ``bits`` as a two's complement number."""
    value &= (1 << bits) - 1
    return value - (1 << bits) if value >> (bits - 1) else value


def binary(op: BinOp, a: int, b: int, bits: int) -> int:
    """``a op b`` on unsigned numbers of ``bits`` bits."""
    x, y = signed(a, bits), signed(b, bits)
    match op:
        case BinOp.ADD:
            result = a + b
        case BinOp.SUB:
            result = a - b
        case BinOp.MUL:
            result = a * b
        case BinOp.UDIV:
            result = a // b
        case BinOp.UREM:
            result = a % b
        case BinOp.SDIV:
            result = abs(x) // abs(y) * (1 if (x < 0) == (y < 0) else -1)
        case BinOp.SREM:
            result = abs(x) % abs(y) * (-1 if x < 0 else 1)
        case BinOp.AND:
            result = a & b
        case BinOp.OR:
            result = a | b
        case BinOp.XOR:
            result = a ^ b
        case BinOp.SHL:
            result = a << b
        case BinOp.LSHR:
            result = a >> b
        case BinOp.ASHR:
            result = x >> b
    return result & ((1 << bits) - 1)


def compare(pred: Pred, a: int, b: int, bits: int) -> bool:
    """``a pred b`` on unsigned numbers of ``bits`` bits."""
    x, y = signed(a, bits), signed(b, bits)
    return {
        Pred.EQ: a == b,
        Pred.NE: a != b,
        Pred.ULT: a < b,
        Pred.ULE: a <= b,
        Pred.UGT: a > b,
        Pred.UGE: a >= b,
        Pred.SLT: x < y,
        Pred.SLE: x <= y,
        Pred.SGT: x > y,
        Pred.SGE: x >= y,
        Pred.TEST: a & b != 0,
    }[pred]


def swap(value: int, bits: int) -> int:
    """The low ``bits`` with their bytes reversed."""
    size = bits // 8
    return int.from_bytes((value & ((1 << bits) - 1)).to_bytes(size, "little"), "big")


CORNERS_64 = (
    0, 1, 2, 3, 7, 10, 0x7F, 0x80, 0xFF, 0x100, 0x7FFF, 0x8000, 0xFFFF, 0x10000, 0x7FFF_FFFF, 0x8000_0000,
    0x8000_0001, 0xFFFF_FFFF, 1 << 32, (1 << 32) + 5, 0x0123_4567_89AB_CDEF, (1 << 63) - 1, 1 << 63,
    (1 << 63) + 1, (1 << 64) - 0x8000_0000, (1 << 64) - 0x8000_0001, (1 << 64) - 10, (1 << 64) - 2,
    (1 << 64) - 1,
)  # fmt: skip
CORNERS_32 = tuple(sorted({value & 0xFFFF_FFFF for value in CORNERS_64}))
