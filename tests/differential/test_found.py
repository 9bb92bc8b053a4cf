"""Programs with which the comparison of generated programs once found a mistake, cut down to what showed it."""

from __future__ import annotations

import os
import textwrap

import pytest

from tests.differential.judge import Verdict, judge, packets, pinned

HEADER = """\
from __future__ import annotations

import pyebpf as bpf
from pyebpf import be16, be32, i8, i16, i32, i64, le32, u8, u16, u32, u64

bpf.license("GPL")


@bpf.struct
class Inner:
    p: u16
    q: i32


@bpf.struct
class Counters:
    first: u64
    second: u64


@bpf.struct
class Prefix:
    prefixlen: u32
    address: be32


words = bpf.HashMap[u16, u32](max_entries=12)
counts = bpf.HashMap[u32, u64](max_entries=64, default=2)
table = bpf.ArrayMap[u32, u64](max_entries=16)
routes = bpf.LpmTrie[Prefix, u32](max_entries=8)
events = bpf.RingBuf(1 << 12)
narrow = bpf.Global[i32](-17)
rounds = bpf.Const[u16](0)
TABLE = (3, 70000, 5, 926)

"""

FOUND = {
    "a function that fills its caller's struct has no result in a register": """
        @bpf.noinline
        def f(p: u8) -> Inner:
            return Inner(p=p, q=1)

        @bpf.xdp(on_error=104)
        def program(ctx: bpf.Xdp) -> int:
            made = f(ctx.read(u8, 1))
            return made.p + made.q
    """,
    "an error number that `bpf.checked` raises is handled": """
        @bpf.xdp(on_error=9)
        def program(ctx: bpf.Xdp) -> int:
            try:
                bpf.checked(words.update(1, 5, bpf.BPF_EXIST))
            except OSError as e:
                return e.errno
            return 0
    """,
    "an annotated parameter keeps the low bits of an argument": """
        @bpf.inline
        def f(p: u8, q: i16) -> i32:
            q = u64(5)
            counts[255 >= p] += 1
            return p - q

        @bpf.xdp(on_error=134)
        def program(ctx: bpf.Xdp) -> int:
            return f(narrow.value, 2)
    """,
    "a chained comparison that never holds, inside of `and`": """
        @bpf.xdp(on_error=134)
        def program(ctx: bpf.Xdp) -> int:
            n = 0
            for i in range(-3, 1):
                if len(ctx) <= 63 == 2 and (30565 == n and i == 0):
                    n += 7
                n += 3 if len(ctx) > 4 and 1 > 2 else i
            return n
    """,
    "alternatives of which the first matches always": """
        @bpf.xdp(on_error=134)
        def program(ctx: bpf.Xdp) -> int:
            match 0 * 8:
                case 0 | 1:
                    return 4
                case (2 | 3) as m:
                    return m
            return 5
    """,
    "not None in a loop that narrows the value further": """
        @bpf.xdp(on_error=134)
        def program(ctx: bpf.Xdp) -> int:
            n = 0
            words.update(3, len(ctx))
            if (o := words.get(3)) is not None:
                for i in range(3):
                    if o > 16:
                        n += o
                    n += o * i
            return i32(n)
    """,
    "callbacks that the verifier never sees called": """
        @bpf.xdp(on_error=134)
        def program(ctx: bpf.Xdp) -> int:
            n = 0

            def body(i: u32) -> None:
                nonlocal n
                n += 1

            def other(i: u32) -> bool:
                return table[i] > 3

            first: u32 = bpf.loop(rounds.value, body)
            bpf.loop((256 or 181) & 15, other)
            if first == 0:
                n += bpf.loop(first, body)
            return n + bpf.loop(narrow.value % 5 - 4, body)
    """,
    "counters of nested callbacks that are compared afterwards": """
        @bpf.xdp(on_error=134)
        def program(ctx: bpf.Xdp) -> int:
            n = 0
            m = 0

            def outer(i: u32) -> None:
                nonlocal m
                m += 1

                def inner(j: u32) -> None:
                    nonlocal n
                    n += 1

                bpf.loop(5, inner)

            bpf.loop(7, outer)
            return 3 if n == 35 and m == 7 else 1
    """,
    "counters in an object that nested callbacks change": """
        def count(i: u32, state: Counters) -> None:
            state.first += 1

        @bpf.xdp(on_error=134)
        def program(ctx: bpf.Xdp) -> int:
            counters = Counters()
            others = Counters()

            def outer(i: u32) -> None:
                others.second += 1
                bpf.loop(5, count, counters)

            bpf.loop(7, outer)
            return 3 if counters.first == 35 and others.second == 7 else 1
    """,
    "a function of the module as the body of two loops": """
        def accumulate(i: u32, state: Inner) -> None:
            state.p += 1

        @bpf.xdp(on_error=134)
        def program(ctx: bpf.Xdp) -> int:
            inner = Inner()
            bpf.loop(3, accumulate, inner)
            n: u16 = 1
            bpf.loop(4, accumulate, inner)
            return n + inner.p
    """,
    "a check that only we could prove, after a division in 32 bits": """
        @bpf.xdp(on_error=134)
        def program(ctx: bpf.Xdp) -> int:
            values = bpf.array(u16, 5)
            values[0] = 7
            small: u16 = 1 % (narrow.value & 7)
            other: u32 = ctx.read(u8, 1)
            shifted: u32 = other >> (ctx.read(u8, 2) & 7)
            return values[small >> 31] + values[shifted >> 31]
    """,
    "a mask after a 32-bit division that reaches it by a join": """
        @bpf.xdp(on_error=134)
        def program(ctx: bpf.Xdp) -> int:
            values = bpf.array(u16, 5)
            small: u32 = 1
            for letter in b"hello":
                small = 1 % (counts[letter] & 7) if small else 1
                small = values[small >> 31 & 3]
            return i32(small)
    """,
    "a variable that a later argument of min assigns": """
        @bpf.xdp(on_error=134)
        def program(ctx: bpf.Xdp) -> int:
            first: u64 = 1
            second: u64 = ctx.read(u8, 0)
            least = min(first, (first := 12))
            return least + 16 * max(second, (second := 0), 1)
    """,
    "a loop whose test never holds": """
        @bpf.xdp(on_error=134)
        def program(ctx: bpf.Xdp) -> int:
            w = 0
            while w < len(ctx) and 7 == -15:
                w += 1
            else:
                w = 3
            return w
    """,
    "a mask where a smaller bound is known": """
        @bpf.global_function
        def f(p: u8, q: u16) -> u64:
            values = bpf.array(u64, 4)
            values[(q % 4) & 3] = 3
            total = TABLE[(q % 3) & 3] + TABLE[min(p, 2) & 3] + values[p & 3]
            for i in range(4):
                total += TABLE[i & 3]
            return total

        @bpf.xdp(on_error=134)
        def program(ctx: bpf.Xdp) -> int:
            n = 0

            def body(i: u32) -> None:
                nonlocal n
                n += TABLE[i & 3]

            stopped = bpf.loop(3, body)
            return i32(n + TABLE[stopped & 3] + f(3, ctx.read(u8, 0)))
    """,
    "bytes cut off a frame come back with the headroom": """
        @bpf.xdp(on_error=134)
        def program(ctx: bpf.Xdp) -> int:
            moved: i32 = ctx.adjust_head(4)
            back: i32 = ctx.adjust_head(-8)
            return ctx.read(u8, 9) + moved + back + ctx.adjust_tail(-2) + ctx.adjust_head(-300)
    """,
    "a prefix in a trie replaces the same prefix with other bits behind it": """
        @bpf.xdp(on_error=134)
        def program(ctx: bpf.Xdp) -> int:
            routes.update(Prefix(prefixlen=8, address=0x0A000001), 1)
            routes.update(Prefix(prefixlen=8, address=0x0A0000FF), 2)
            n = routes.update(Prefix(prefixlen=33, address=1), 3)
            return i32(routes[Prefix(prefixlen=32, address=0x0A010203)] - n)
    """,
    "records lie where they were reserved": """
        @bpf.xdp(on_error=134)
        def program(ctx: bpf.Xdp) -> int:
            inner = Inner(p=7)
            with events.reserve(Inner) as first:
                if first is not None:
                    events.output(inner)
                    first.p = 3
            try:
                with events.reserve(Inner) as second:
                    if second is not None:
                        second.q = table[len(ctx) + 20]
            except KeyError:
                return 9
            return 0
    """,
    "an index that was scaled before a tighter check of it": """
        @bpf.xdp(on_error=1)
        def program(ctx: bpf.Xdp) -> int:
            wide = bpf.array(u32, 5)
            i = narrow.value & 7
            v = 0
            if wide[i] == 0:
                v = TABLE[i]
            j = ctx.read(u8, 0) & 7
            scaled = j * 4
            wide[j] = 3
            if j < 4:
                v += TABLE[j] + scaled
            return u8(v)
    """,
    "a callback that counts is followed no further where a test finds what it counts to be one number": """
        def nth(i: u32, state: Counters) -> None:
            state.first += 1
            if state.first == 3:
                state.second = i

        @bpf.xdp(on_error=1)
        def program(ctx: bpf.Xdp) -> int:
            state = Counters(first=0, second=0)
            bpf.loop(words.get(1, 5) & 0x7FFFF, nth, state)
            count: u32 = 0
            third: u32 = 0
            def body(i: u32) -> None:
                nonlocal count, third
                count += 1
                if count == 3:
                    third = i + 7
            bpf.loop(words.get(1, 5) & 0x7FFFF, body)
            return u32(third + state.second)
    """,
    "a callback that computes from one of two numbers is followed no further": """
        @bpf.xdp(on_error=1)
        def program(ctx: bpf.Xdp) -> int:
            a: u32 = ctx.data_end - ctx.data
            b: u32 = a
            def body(i: u32) -> bool:
                nonlocal a, b
                a = (0x2F4E1C85 if b in (1, 7, 255) else 0x57E718AD) - bpf.ntohl(max(a, 2))
                b = 5 ^ i if a < 0x7FFFFFFF else 32767
                return bool(Prefix(prefixlen=32, address=u32((i or a) << 28)) in routes)
            bpf.loop((15 & a) % 9, body)
            return u8(a + b)
    """,
    "a loop that computes from known numbers in branches is not followed number by number": """
        @bpf.xdp(on_error=1)
        def program(ctx: bpf.Xdp) -> int:
            v: u32 = 1
            for i in range(12):
                a = table[i]
                if a > 3:
                    v = v * 3 + 1
                if a > 5:
                    v = v * 5 + 1
                if v == 7:
                    v -= 1
            return u8(v)
    """,
    "a loop over constants that computes from a known negative number": """
        @bpf.xdp(on_error=1)
        def program(ctx: bpf.Xdp) -> int:
            v: i16 = -1
            for i in (1, 2, 3, 5, 8, 9, 10, 11, 12, 13, 14, 15):
                a = table[i]
                v = v * 3 - 1 if a > 3 else v * 5 + 2
                if a > 5:
                    v = 7 ^ v
                if v == -3:
                    v -= 1
            return u8(v) if v < -100 else 3
    """,
    "a while loop that computes two numbers from each other in branches": """
        @bpf.xdp(on_error=1)
        def program(ctx: bpf.Xdp) -> int:
            v: u64 = 1
            w: u8 = 3
            n = 0
            while n < 14:
                n += 1
                if table[n] > 3:
                    v = v * 3 + w
                if table[n & 7] > 5:
                    w = w * 5 + 1
                    if w == 81:
                        continue
                v ^= 1
                if w > 3 and v == 10:
                    v = 4
            return u8(v) + w
    """,
    "a nested loop that chooses known numbers": """
        @bpf.xdp(on_error=1)
        def program(ctx: bpf.Xdp) -> int:
            v: i32 = -5
            for i in range(4):
                for j in range(5):
                    a = table[i + j]
                    if a > 3:
                        v = v * 3 + 1
                    elif a > 1:
                        v = v * 7 - 2
                    if v == 64 or v == 3:
                        v = -6
            return u8(v) if v != 11 else 2
    """,
    "loops whose body leaves in the first round": """
        @bpf.xdp(on_error=9)
        def program(ctx: bpf.Xdp) -> int:
            first = bpf.array(u32, 2)
            first[0] = ctx.read(u8, 3)
            for i in range(100):
                match i * 8:
                    case _:
                        total = 3
                if len(ctx) > 40:
                    break
                for j in (5, 6):
                    for each in first:
                        return u8(each + i + j)
                total = 4
            else:
                return 1
            return total
    """,
    "what lies in the packet is copied for helpers that may not look there": """
        @bpf.tc(on_error=9)
        def program(skb: bpf.SkBuff) -> int:
            inner = skb.read(Inner, 2)
            events.output(inner)
            skb.store(20, inner)
            return skb.read(u8, 22)
    """,
    "the end of a frame is moved by 32 bits of a number": """
        @bpf.xdp(on_error=9)
        def program(ctx: bpf.Xdp) -> int:
            return ctx.adjust_tail(len(ctx) << 60) + ctx.adjust_head((len(ctx) << 40) + 2)
    """,
    "an aligned field of a packed struct is changed atomically": """
        @bpf.struct(packed=True)
        class Entry:
            total: u64
            kind: u8
            count: u32

        entries = bpf.HashMap[u32, Entry](max_entries=4)

        @bpf.xdp(on_error=9)
        def program(ctx: bpf.Xdp) -> int:
            entries[3] = Entry(total=len(ctx), kind=1, count=2)
            entry = entries.get(3)
            if entry is None:
                return 1
            entry.total += 7
            entry.count = entry.count + 1
            return 2
    """,
}


def source_of(head: str, body: str) -> str:
    """A module with the declarations above; ``body`` is what ``head`` begins, or stands alone."""
    text = textwrap.dedent(body)
    return HEADER + head + (textwrap.indent(text, "    ") if head else text)


@pytest.mark.skipif(os.geteuid() != 0, reason="running programs on the kernel needs root")
@pytest.mark.parametrize("name", FOUND)
def test_what_was_found_stays_mended(name: str) -> None:
    with pinned():
        judgement = judge(source_of("", FOUND[name]), "found", packets(1), check=True)
    assert judgement.verdict is Verdict.AGREED, f"{judgement.verdict.value}\n{judgement.text}"
