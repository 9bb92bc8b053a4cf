# mypy: ignore-errors
# ruff: noqa: F821, SIM108, B007, RET503
"""Small programs whose meaning is CPython's: ``test_meaning`` runs each of them both ways.

Inputs are fields of the context. No result needs more than 64 bits, and no local is read that Python would find
unbound, so the undecorated function is the specification.
"""

from __future__ import annotations

import enum
import errno
import socket

import pyebpf as bpf
from pyebpf import i8, i16, i32, u8, u16, u32, u64

STEP = 3
TABLE = (3, 1, 4, 1, 5, 9, 2, 6)
SIGNED = (-3, 5, -7, 2)
DEBUG = False
NAME = b"kernel"


class Color(enum.IntEnum):
    RED = 1
    GREEN = 2
    BLUE = 4


def arithmetic(ctx):
    a, b = ctx.mark, ctx.priority
    return (a + b) * 3 - (a - b) * 2 + (a & 255) * (b & 15) - (a | 1) + (b ^ 5)


def floor_division(ctx):
    a, b = ctx.mark - 7, (ctx.priority & 7) - 3
    if b == 0:
        return -1
    return a // b * 1000 + a % b


def power_of_two_division(ctx):
    a = ctx.mark - ctx.priority
    return a // 8 * 100 + a % 8


def zero_division(ctx):
    return 1000 // (ctx.mark - 2)


def shifts(ctx):
    n = ctx.mark & 15
    return (1 << n) + (ctx.priority >> n) + ((ctx.priority - 9) >> 2)


def signs(ctx):
    a = ctx.mark
    return -a + ~a + +a - abs(a - 5)


def mixed_comparisons(ctx):
    a, b = ctx.mark - 5, u64(ctx.priority)
    return (a < b) + (a <= b) * 2 + (a > b) * 4 + (a >= b) * 8 + (a == b) * 16 + (a != b) * 32


def chained(ctx):
    a, b = ctx.mark, ctx.priority
    return (1 if 2 < a < b else 0) + (2 if 0 <= a - 3 <= b != 7 else 0)


def chained_once(ctx):
    n = 0
    if 0 < (n := n + ctx.mark) < 9:
        n += 100
    return n


def logic_values(ctx):
    a, b = ctx.mark, ctx.priority
    return (a and b) + (a or 7) * 10 + (a and b and 5) * 100 + ((a or b) and 3) * 1000


def logic_bools(ctx):
    a, b = ctx.mark > 3, ctx.priority > 3
    c = a and not b
    d = a or b
    return c + d * 2 + (a != b) * 4 + (a & b) * 8 + (a ^ b) * 16


def conditional(ctx):
    return (10 if ctx.mark > 4 else 20) + (ctx.priority if ctx.mark else -1)


def constants(ctx):
    if DEBUG:
        return undefined_name  # never compiled
    x = 2**10 // 3 + len(TABLE) + len("abc") + int(2.5 * 4) + Color.BLUE + errno.EPERM + socket.IPPROTO_TCP
    return x + max(TABLE) + min(3, 4) + abs(-3) + (Color.RED | Color.GREEN) + NAME[1] + len(NAME[2:4])


def folded_calls(ctx):
    return ord("a") + pow(2, 5) + divmod(17, 5)[1] + round(2.6) + int(float("2.5") * 2)


def constant_if(ctx):
    if STEP == 3:
        x = 1
    else:
        x = "never looked at"
    return x if not DEBUG else None


def augmented(ctx):
    x = ctx.mark
    x += 3
    x *= 2
    x -= ctx.priority
    x //= 3
    x %= 100
    x <<= 2
    x >>= 1
    x |= 1
    x &= 0xFF
    x ^= 0x0F
    return x


def wrapping_local(ctx):
    h: u32 = 5381
    for i in range(6):
        h = h * 33 + (ctx.mark & 255) - i
        h &= 0xFFFFFFFF
    return h


def unpacking(ctx):
    a, b = ctx.mark, ctx.priority
    a, b = b, a + 1
    (c, d), e = (a - b, a), b
    return a * 3 + b * 5 + c * 7 + d * 11 + e


def several_targets(ctx):
    a = b = ctx.mark + 1
    a += 1
    return a * 100 + b


def walrus(ctx):
    if (n := ctx.mark & 7) > 3 and (m := n * 2) > 9:
        return n + m * 10
    return n


def while_counter(ctx):
    i = total = 0
    while i < 10:
        if i == ctx.mark:
            break
        total += i
        i += 1
    else:
        total += 1000
    return total * 100 + i


def while_down(ctx):
    n = ctx.mark & 31
    steps = 0
    while n > 0:
        n -= 3
        steps += 1
    return steps * 10 + n


def while_true(ctx):
    i = 0
    while True:
        if i >= (ctx.mark & 15):
            break
        i += 2
    return i


def while_continue(ctx):
    i = total = 0
    while i < 12:
        i += 1
        if i & 1:
            continue
        total += i * (ctx.mark & 3)
    return total


def while_shrink(ctx):
    n = ctx.mark
    bits = 0
    while n:
        bits += n & 1
        n >>= 1
    return bits


def while_lowest_bit(ctx):
    n = ctx.mark
    bits = 0
    while n != 0:
        n &= n - 1
        bits += 1
    return bits


def while_and(ctx):
    i, n = 0, ctx.mark & 63
    while i < 20 and n != i * 3:
        i += 1
    return i


def for_range(ctx):
    total = 0
    for i in range(ctx.mark & 15):
        if i == 5:
            continue
        if i == 9:
            break
        total += i * i
    else:
        total += 10_000
    return total


def for_range_step(ctx):
    total = 0
    for i in range(20, ctx.mark & 7, -3):
        total = total * 2 + i
    for i in range(2, 11, 4):
        total += i
    return total


def for_last_value(ctx):
    i = -1
    for i in range(ctx.mark & 3):
        pass
    return i


def for_target_assigned(ctx):
    total = 0
    for i in range(5):
        total += i
        i = 100 + ctx.mark
        total += i & 1
    return total + i


def for_constants(ctx):
    total = 0
    for n in (3, 5, -8):
        if n == ctx.mark:
            break
        total = total * 10 + n
    else:
        total += 7
    return total


def for_table(ctx):
    total = 0
    for n in TABLE:
        total = total * 3 + n
    return total + TABLE[ctx.mark & 7] + SIGNED[ctx.priority & 3]


def table_index_error(ctx):
    return TABLE[ctx.mark]


def table_negative_index(ctx):
    return TABLE[(ctx.mark & 7) - 8]


def for_bytes(ctx):
    total = 0
    for c in b"abc":
        total = total * 2 + c
    return total + NAME[ctx.mark % 6]


def nested_loops(ctx):
    found = 0
    for i in range(4):
        for j in range(4):
            if i * j == ctx.mark:
                found = i * 10 + j
                break
        else:
            continue
        break
    else:
        found = -1
    return found


def match_constants(ctx):
    match ctx.mark:
        case 0:
            return 10
        case 1 | 2:
            return 20
        case Color.BLUE:
            return 30
        case socket.IPPROTO_TCP:
            return 40
        case n if n > 100:
            return n
        case other:
            return other + 1000


def match_guard(ctx):
    x = 0
    match ctx.mark & 7:
        case 1 if ctx.priority > 3:
            x = 1
        case 1:
            x = 2
        case n if n > 5:
            x = n
        case _:
            x = 9
    return x


def membership(ctx):
    a = ctx.mark
    return (a in (1, 3, 5)) + (a not in TABLE) * 2 + (a in range(2, 6)) * 4 + (a in (ctx.priority, 8)) * 8


def assertion(ctx):
    assert ctx.mark != 3, "not three"
    return 7


def raising(ctx):
    if ctx.mark == 1:
        raise ValueError("one")
    if ctx.mark == 2:
        raise OSError(errno.ENOENT, "two")
    return 1


def trying(ctx):
    try:
        if ctx.mark == 0:
            raise KeyError
        x = 100 // (ctx.mark - 1)
        if ctx.mark == 3:
            raise ValueError
    except ZeroDivisionError:
        x = 1
    except LookupError:
        x = 2
    except (ValueError, OverflowError):
        x = 3
    else:
        x += 1000
    return x


def trying_finally(ctx):
    log = 0
    for i in range(3):
        try:
            if i == ctx.mark:
                continue
            if i + 1 == ctx.mark:
                break
            log = log * 10 + 1
        finally:
            log = log * 10 + 2
    return log


def finally_return(ctx):
    x = 0
    try:
        x += 1
        if ctx.mark > 3:
            return x
        x += 10
    finally:
        x += 100
    return x


def try_errno(ctx):
    try:
        if ctx.mark > 2:
            raise OSError(errno.EAGAIN, "again")
        raise OSError(ctx.mark + 1, "other")
    except OSError as error:
        return error.errno


def reraise(ctx):
    x = 0
    try:
        try:
            x = 10 // ctx.mark
        except ZeroDivisionError:
            x = 5
            raise
    except ArithmeticError:
        x += 100
    return x


def nested_handlers(ctx):
    try:
        try:
            if ctx.mark & 1:
                raise KeyError
            raise ValueError
        except KeyError:
            return 1 // (ctx.mark - 1)
    except ZeroDivisionError:
        return 50
    except ValueError:
        return 60


def helper_function(a, b=STEP, *, _=None):
    return a * b


def double(n: int) -> int:
    return n * 2


def limited(n: u8) -> int:
    return n + 1


def classify(n):
    if n > 10:
        return n
    if n < 3:
        raise ValueError
    return double(n=n)


def nothing(n):
    n += 1


def calls(ctx):
    nothing(ctx.mark)
    return double(ctx.mark) + double(3) + classify((ctx.mark & 63) + 3) + limited(ctx.mark & 255)


def calls_raise(ctx):
    try:
        return classify(ctx.mark)
    except ValueError:
        return -5


def local_function(ctx):
    def square(n):
        return n * n

    return square(ctx.mark & 255) + square(3)


def local_callback(ctx):
    total = count = 0

    def body(i):
        nonlocal total, count
        if i == ctx.mark:
            return True
        total += i * STEP
        count = i

    rounds = bpf.loop(10, body)
    return total * 100 + rounds * 10 + count


def callback_raises(ctx):
    def body(i):
        if i == ctx.mark:
            raise KeyError

    try:
        bpf.loop(5, body)
    except KeyError:
        return 1
    return 2


def conversions(ctx):
    a = ctx.mark - 3
    return (
        u8(a) + i8(a * 50) * 3 + u16(a * 999) + i16(a * 99_999) + i32(a << 28) + int(ctx.mark > 2) + bool(a)
    )


def minimum(ctx):
    a, b = ctx.mark, ctx.priority - 4
    return min(a, b) + max(a, b) * 2 + min(a, b, 3) * 4 + max(1, a * 2, b * 3) * 8


def swaps(ctx):
    return bpf.htons(ctx.mark) + bpf.ntohl(ctx.priority & 255) + bpf.htons(0x1234) + bpf.log2(ctx.mark)


def unsigned_total(ctx):
    total = 0
    for i in range(3):
        total += u64(ctx.mark) * 2**30
    return total % 1_000_003


def unbound_narrowing(ctx):
    n = None
    if ctx.mark > 3:
        n = ctx.mark * 2
    if n is None:
        return -1
    return n + 1


def optional_walk(ctx):
    best = None
    for i in range(6):
        if i * 7 % 5 == (ctx.mark & 3):
            best = i
    return 99 if best is None else best


def shadowed(ctx):
    len = 5
    return len + ctx.mark


MEANINGS = [
    found
    for name, found in list(globals().items())
    if callable(found)
    and getattr(found, "__code__", None) is not None
    and found.__code__.co_varnames[:1] == ("ctx",)
]
