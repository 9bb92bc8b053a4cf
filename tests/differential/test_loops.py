"""Loops as users write them, in which the verifier would follow too many ways, or too many iterations, if nothing were
hidden from it, or if they did not go over the kernel's iterators."""

from __future__ import annotations

import os

import pytest

from tests.differential.judge import Verdict, judge, packets, pinned
from tests.differential.test_found import source_of

HEAD = """
@bpf.xdp(on_error=1)
def program(ctx: bpf.Xdp) -> int:
"""

LOOPS = {
    "steps that differ, and a count beside them": """
        i = 0
        j = 0
        while i < 400:
            if table[i & 15] > 3:
                i += 1
            else:
                i += 2
            if table[i & 7] > 5:
                j += 1
            if j == 12:
                break
        return u8(i + j)
    """,
    "bits of a number": """
        x = table[1]
        v: u32 = 1
        w = 0
        while x:
            x >>= 1
            if x & 1:
                v = v * 3 + 1
                w += 1
            elif x & 4:
                v = v * 7 + 3
            if v == 12 or w > 20:
                return 5
        return u8(v)
    """,
    "nested loops": """
        v = 1
        for i in range(20):
            for j in range(3):
                if table[i & 15] > 3:
                    v = v * 3 + 1
                if v == 13:
                    v = 5
        return u8(v)
    """,
    "fields of a struct": """
        c = Counters(first=0, second=0)
        for i in range(200):
            if table[i & 15] > 3:
                c.first += 1
            if table[i & 7] > 5:
                c.second += 1
            if c.first == 12 and c.second > 3:
                break
        return u8(c.first)
    """,
    "elements of an array": """
        c = bpf.array(u64, 4)
        for i in range(200):
            if table[i & 15] > 3:
                c[0] += 1
            if table[i & 7] > 5:
                c[1] += 1
            if c[0] == 12 and c[1] > 3:
                break
        return u8(c[0])
    """,
    "flags": """
        a = False
        b = False
        c = False
        d = False
        n = 0
        for i in range(500):
            x = table[i & 15]
            if x == 1:
                a = True
            if x == 2:
                b = True
            if x == 3:
                c = True
            if x == 5:
                d = True
            if a and b and c and d:
                break
            n += 1
        return u8(n)
    """,
    "a number or None": """
        best = None
        for i in range(200):
            x = table[i & 15]
            if x & 1:
                best = i
            elif x == 7:
                best = None
            if best is not None and best == 40:
                return 3
        return 2 if best is None else u8(best)
    """,
    "the least and the greatest byte": """
        lo: u32 = 1000
        hi: u32 = 0
        at = 0
        for i in range(64):
            x = ctx.read(u8, i)
            if x < lo:
                lo = x
                at = i
            if x > hi:
                hi = x
        if hi - lo > 100:
            return ctx.read(u8, at)
        return 2
    """,
    "records of their own lengths": """
        at = 14
        total = 0
        for _ in range(40):
            length = ctx.read(u8, at)
            if length == 0:
                break
            if length > 20:
                at += 1
                continue
            at += length + 1
            total += 1
            if at > 1400:
                break
        return u8(total)
    """,
    "options of a header": """
        at = 14
        total = 0
        while at < 200:
            kind = ctx.read(u8, at)
            if kind == 0:
                at += 1
                continue
            if kind == 1:
                at += 4
                total += 1
            else:
                at += 2
            if total == 10:
                return 2
        return u8(total)
    """,
    "a sequence that rises and falls": """
        x = ctx.read(u8, 0) + 1
        steps = 0
        for _ in range(120):
            if x == 1:
                break
            if x & 1:
                x = 3 * x + 1
            else:
                x //= 2
            steps += 1
        return u8(steps)
    """,
    "sorting": """
        a = bpf.array(u8, 8)
        for i in range(8):
            a[i] = ctx.read(u8, i)
        swaps = 0
        for _ in range(8):
            for j in range(7):
                if a[j] > a[j + 1]:
                    a[j], a[j + 1] = a[j + 1], a[j]
                    swaps += 1
        if swaps == 13:
            return 2
        return a[0]
    """,
    "searching a word": """
        m = 0
        for i in range(90):
            x = ctx.read(u8, i)
            if x == b"foobar"[m]:
                m += 1
                if m == 6:
                    return 1
            else:
                m = 0
        return 2
    """,
    "two flags": """
        a = False
        b = False
        for i in range(600):
            x = table[i & 15]
            if x == 2:
                a = True
            if x == 3:
                b = True
            if a and b:
                break
        return u8(i)
    """,
    "three flags": """
        a = False
        b = False
        c = False
        for i in range(100):
            x = table[i & 15]
            if x == 2:
                a = True
            if x == 3:
                b = True
            if x == 5:
                c = True
            if a and b and c:
                break
        return u8(i)
    """,
}

LONG = {
    "more iterations than the verifier would follow": """
        n = 0
        for i in range(100_000):
            n += i & 3
        return u8(n)
    """,
    "more branches than the verifier would keep": """
        n = 0
        for i in range(4_000):
            if table[i & 15] > 3:
                n += 2
            if n == 1000:
                break
        return u8(n)
    """,
    "a while loop with every way out": """
        n = 0
        i = 0
        while i < 20_000:
            i += 1
            if i % 7 == 3:
                continue
            n += 2
            if n > 19_000:
                return 7
            if table[n & 15] == 99:
                break
        else:
            n = 5
        return u8(n)
    """,
    "bounds that only a run knows, both directions": """
        n = 0
        start: u16 = ctx.read(u16, 0) & 0xFFF
        for i in range(start, 20_000, 3):
            n ^= i
            n += table[i % 16]
        for i in range(10_000, start, -1):
            n ^= i
            if n == 17:
                return 4
        return u8(n)
    """,
    "an index that the iterator gives": """
        a = bpf.array(u32, 16)
        for i in range(9_000):
            a[i & 15] += table[i % 16]
            if i > 8_990:
                a[i - 8_990] += 1
            if a[3] == 77:
                raise ValueError
        return u8(a[5])
    """,
    "loops in loops": """
        n = 0
        for i in range(200):
            for j in range(100):
                if table[(i ^ j) & 15] > 5:
                    n += 1
                if n == 12_000:
                    return 3
        return u8(n)
    """,
    "loops in loops, what they count nobody looks at": """
        n = 0
        for i in range(200):
            for j in range(100):
                if table[(i ^ j) & 15] > 5:
                    n += 1
        return u8(n)
    """,
    "loops in loops, the last number is kept": """
        best = 0
        for i in range(300):
            for j in range(100):
                if table[(i ^ j) & 15] > 5:
                    best = j
        return u8(best)
    """,
    "loops in loops, flags leave the inner one at several numbers": """
        a = False
        b = False
        c = False
        d = False
        n = 0
        for i in range(500):
            for j in range(100):
                x = table[(i ^ j) & 15]
                if x == 1:
                    a = True
                if x == 2:
                    b = True
                if x == 3:
                    c = True
                if x == 5:
                    d = True
                if a and b and c and d:
                    break
                n += 1
        return u8(n)
    """,
    "eight flags that nobody looks at": """
        a = b = c = d = e = f = g = h = False
        for i in range(30_000):
            x = table[i & 15]
            if x == 0:
                a = True
            if x == 1:
                b = True
            if x == 2:
                c = True
            if x & 3:
                d = True
            if x & 4:
                e = True
            if x & 5:
                f = True
            if x & 6:
                g = True
            if x & 7:
                h = True
        return u8(a + b + c + d + e + f + g + h)
    """,
    "exceptions and finally": """
        n = 0
        for i in range(10_000):
            try:
                n += counts[i & 63] // (i & 7)
            except ZeroDivisionError:
                n += 3
            finally:
                n ^= 1
            if i == 6_000:
                raise KeyError
        return u8(n)
    """,
    "records of the ring buffer": """
        n = 0
        for i in range(2_000):
            if i % 100 == 7:
                with events.reserve(Inner) as e:
                    if e is None:
                        break
                    e.p = i
                    if i == 1_907:
                        return 9
            n += 1
        return u8(n)
    """,
}

FUNCTIONS = {
    "a long loop in a function, in a callback and around one": """
        @bpf.noinline
        def search(from_: u32) -> u32:
            for i in range(5_000):
                if table[(from_ + i) & 15] > 90:
                    return i
                if i * 3 == from_:
                    raise KeyError
            return 7

        @bpf.xdp(on_error=1)
        def program(ctx: bpf.Xdp) -> int:
            n = 0

            def body(j: u32) -> None:
                nonlocal n
                for i in range(2_500):
                    if table[i & 15] > 4:
                        n += 1

            for k in range(3_000):
                if k & 2047 == 5:
                    n += bpf.loop(2, body)
                n ^= k
                n += table[k & 15]
            try:
                return u8(search(4) + search(6) + n)
            except KeyError:
                return 9
    """,
    "a function that counts, called in a loop": """
        @bpf.noinline
        def count(a: u32) -> u32:
            n: u32 = 0
            for j in range(20):
                if table[(a + j) & 15] > 3:
                    n += 1
                if n == 7:
                    break
            return n

        @bpf.xdp(on_error=1)
        def program(ctx: bpf.Xdp) -> int:
            n: u32 = 0
            for i in range(100):
                n += count(i)
                if n > 50:
                    return 2
            return u8(n)
    """,
    "counts that a function adds to": """
        @bpf.noinline
        def step(a: u32, b: u32) -> u32:
            if table[a & 15] > 3:
                return b + 1
            return b

        @bpf.xdp(on_error=1)
        def program(ctx: bpf.Xdp) -> int:
            n: u32 = 0
            m: u32 = 0
            for i in range(100):
                n = step(i, n)
                m = step(i + 1, m)
                if n == 50 and m > 7:
                    return 2
            return u8(n)
    """,
    "a count that becomes the key of an element": """
        @bpf.xdp(on_error=1)
        def program(ctx: bpf.Xdp) -> int:
            at = 14
            options = 0
            for _ in range(64):
                kind = ctx.read(u8, at)
                if kind == 0:
                    break
                if kind == 1:
                    at += 1
                    continue
                at += ctx.read(u8, at + 1)
                options += 1
            table[options % 16] = 26
            return 2
    """,
    "an automaton that leaves early, and much to do with the packet behind it": """
        @bpf.xdp(on_error=1)
        def program(ctx: bpf.Xdp) -> int:
            version = ctx.read(u8, 14)
            state = 0
            for i in range(300):
                x = ctx.read(u8, i)
                match state:
                    case 0:
                        if x & 64:
                            state = 1
                    case 1:
                        if x > 60:
                            state = 2
                        elif x == 0:
                            state = 0
                    case 2:
                        if x < 100:
                            state = 3
                    case _:
                        break
            n = 0
            for row in range(40):
                if table[row & 15] > 3:
                    n += 1
                if n > 30:
                    break
            for row in range(40):
                if ctx.read(u8, row) > 3:
                    n += 1
                if table[(row + 1) & 15] > 3:
                    n += 3
            return u8(n + version)
    """,
    "a helper with a callback in many rounds": """
        def add(walked, key, value, state):
            narrow.value = i32(key)
            return 0

        @bpf.xdp(on_error=1)
        def program(ctx: bpf.Xdp) -> int:
            n = 0
            for i in range(100):
                n += bpf.for_each_map_elem(table, add, None, 0)
            return u8(n)
    """,
    "a helper with a callback in loops inside each other": """
        def add(walked, key, value, state):
            narrow.value = i32(key)
            return 0

        @bpf.xdp(on_error=1)
        def program(ctx: bpf.Xdp) -> int:
            n = 0
            for i in range(10):
                for j in range(20):
                    n += bpf.for_each_map_elem(table, add, None, 0)
            return u8(n)
    """,
}

SOURCES = {name: source_of(HEAD, body) for name, body in (LOOPS | LONG).items()} | {
    name: source_of("", body) for name, body in FUNCTIONS.items()
}


@pytest.mark.skipif(os.geteuid() != 0, reason="running programs on the kernel needs root")
@pytest.mark.parametrize("name", SOURCES)
def test_the_verifier_follows(name: str) -> None:
    with pinned():
        judgement = judge(SOURCES[name], "loop", packets(1)[-1:], check=True)
    assert judgement.verdict is Verdict.AGREED, f"{judgement.verdict.value}\n{judgement.text}"
