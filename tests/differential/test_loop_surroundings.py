"""Loops in which the ways multiply by what lies around them: other loops, handlers, objects with two names, functions."""

from __future__ import annotations

import os

import pytest

from tests.differential.judge import Verdict, judge, packets, pinned
from tests.differential.test_found import source_of
from tests.differential.test_loops import HEAD

LOOPS = {
    "labels of a name": """
        at = 14
        labels = 0
        total = 0
        h: u32 = 5381
        for _ in range(32):
            n = ctx.read(u8, at)
            if n == 0:
                break
            if n >= 0xC0:
                at += 2
                break
            if n > 63:
                return 3
            at += 1
            for i in range(n):
                c = ctx.read(u8, at + i)
                if 65 <= c <= 90:
                    c += 32
                h = h * 33 + c
                total += 1
            at += n
            labels += 1
            if labels > 10 or total > 255:
                return 4
        words[u16(h)] = u32(labels)
        return u8(labels + total)
    """,
    "a count in an inner loop that breaks": """
        total = 0
        for i in range(60):
            for j in range(20):
                if ctx.read(u8, i) < j * 10:
                    break
                total += 1
            if total > 600:
                return 4
        return u8(total)
    """,
    "counts that a handler looks at": """
        n = 0
        m = 0
        try:
            for i in range(80):
                if ctx.read(u8, i) > 100:
                    n += 1
                if ctx.read(u8, i) > 200:
                    m += 1
        except IndexError:
            pass
        if n > 3 and m < 4:
            return 2
        return u8(n + m)
    """,
    "a handler with a loop of its own": """
        n = 0
        at = 0
        try:
            for i in range(100):
                k = ctx.read(u8, at)
                if k > 128:
                    n += 1
                    at += 2
                else:
                    at += 1
        except IndexError:
            if n > 20:
                for j in range(50):
                    if table[j & 15] == n:
                        return 9
        return u8(n + at)
    """,
    "counts that an else block looks at": """
        n = 0
        m = 0
        for i in range(60):
            x = ctx.read(u8, i)
            if x > 100:
                n += 1
            if x > 200:
                m += 1
            if x == 77:
                break
        else:
            if n > 30 and m < 7:
                return 3
            return 4
        return 5
    """,
    "a struct with a second name": """
        a = Counters(first=0, second=0)
        c = a
        for i in range(60):
            x = ctx.read(u8, i)
            if x > 100:
                c.first += 1
            if x > 200:
                c.second += 1
            if a.first == 20 and a.second == 3:
                break
        return u8(a.first)
    """,
    "a name for one of two structs": """
        a = Counters(first=0, second=0)
        b = Counters(first=0, second=0)
        for i in range(60):
            x = ctx.read(u8, i)
            c = a if x > 100 else b
            c.first += 1
            if x & 1:
                c.second += 1
            if a.first == 20 and b.second == 3:
                break
        return u8(a.first)
    """,
    "flags in an array": """
        flags = bpf.array(u64, 30)
        for i in range(30):
            if ctx.read(u8, i) > 100:
                flags[i] = 1
        n = 0
        for i in range(30):
            if flags[i]:
                n += 1
        return u8(n)
    """,
    "bytes that are cleared in an array": """
        flags = bpf.array(u8, 40)
        for i in range(40):
            flags[i] = 1
        for i in range(40):
            if ctx.read(u8, i) <= 100:
                flags[i] = 0
        n = 0
        for i in range(40):
            if flags[i]:
                n += 1
            elif n > 3:
                n -= 1
        return u8(n)
    """,
    "a table with open addressing": """
        key = ctx.read(u8, 0) + 1
        tab = bpf.array(u32, 16)
        coll = 0
        for i in range(30):
            k = ctx.read(u8, i) + 1
            slot = (k * 7) & 15
            for p in range(16):
                q = (slot + p) & 15
                if tab[q] == 0:
                    tab[q] = k
                    break
                if tab[q] == k:
                    break
                coll += 1
        if coll > 10:
            return 3
        return u8(coll)
    """,
    "the rank of a matrix of bits": """
        rows = bpf.array(u64, 8)
        for i in range(64):
            if ctx.read(u8, i) & 1:
                rows[i >> 3] |= 1 << (i & 7)
        rank = 0
        for c in range(8):
            p = -1
            for r in range(8):
                if r >= rank and rows[r] >> c & 1:
                    p = r
                    break
            if p >= 0:
                t = rows[p]
                rows[p] = rows[rank & 7]
                rows[rank & 7] = t
                for r in range(8):
                    if r != rank and rows[r] >> c & 1:
                        rows[r] ^= t
                rank += 1
        return rank
    """,
    "loops in an unrolled loop": """
        n = 0
        for k in (1, 2, 3, 5, 8, 9, 10, 11):
            a = False
            b = False
            c = False
            for i in range(250):
                x = table[(i + k) & 15]
                if x == 1:
                    a = True
                if x == 2:
                    b = True
                if x == 3:
                    c = True
                if a and b and c:
                    n += 1
                    break
        return n
    """,
    "choices made before a loop": """
        a = 1 if ctx.read(u8, 0) > 1 else 2
        b = 1 if ctx.read(u8, 1) > 1 else 2
        c = 1 if ctx.read(u8, 2) > 1 else 2
        d = 1 if ctx.read(u8, 3) > 1 else 2
        e = 1 if ctx.read(u8, 4) > 1 else 2
        f = 1 if ctx.read(u8, 5) > 1 else 2
        g = 1 if ctx.read(u8, 6) > 1 else 2
        h = 1 if ctx.read(u8, 7) > 1 else 2
        n: u64 = 0
        for i in range(200):
            x = table[i & 15]
            if a == 1:
                n += x
            if b == 1:
                n += x * 2
            if c == 1:
                n += x * 3
            if d == 1:
                n += x * 4
            if e == 1:
                n += x * 5
            if f == 1:
                n += x * 6
            if g == 1:
                n += x * 7
            if h == 1:
                n += x * 8
        return u8(n)
    """,
    "numbers from elsewhere that a loop tests again and again": """
        m0 = table[0]
        m1 = table[1]
        m2 = table[2]
        m3 = table[3]
        m4 = table[4]
        m5 = table[5]
        m6 = table[6]
        m7 = table[7]
        s: u64 = 0
        for i in range(300):
            x = table[i & 15]
            if m0 == 1:
                s += x
            if m1 == 2:
                s += x * 3
            if m2 == 3:
                s ^= x
            if m3 > 4:
                s += x * 5
            if m4 > 4:
                s += x * 7
            if m5:
                s += x * 9
            if m6:
                s += x * 11
            if m7 == 6:
                s += x * 13
        return u8(s)
    """,
    "flags from one loop after another": """
        a = False
        b = False
        c = False
        d = False
        for i in range(100):
            x = table[i & 15]
            if x == 1:
                a = True
        for i in range(100):
            x = table[i & 15]
            if x == 2:
                b = True
        for i in range(100):
            x = table[i & 15]
            if x == 3:
                c = True
        for i in range(100):
            x = table[i & 15]
            if x == 4:
                d = True
        n = 0
        for i in range(400):
            x = table[i & 15]
            if x == 4 and a and b:
                n += 1
            if x == 5 and c and d:
                n += 2
        return u8(n)
    """,
    "a loop over what a loop has found": """
        end = 0
        for i in range(400):
            if table[i & 15] == 7:
                end = i
                break
        start = 0
        for i in range(end):
            if table[i & 15] == 8:
                start = i
                break
        n: u64 = 0
        for i in range(start, end):
            n += table[i & 15]
        return u8(n)
    """,
    "words of a text": """
        at = 0
        while at < 80 and ctx.read(u8, at) > 100:
            at += 1
        first = at
        while at < 80 and ctx.read(u8, at) < 200:
            at += 1
        second = at
        while at < 80 and ctx.read(u8, at) > 50:
            at += 1
        third = at
        while at < 80 and ctx.read(u8, at) > 20:
            at += 1
        if third - second > 10 and second - first > 5:
            return 3
        return u8(at)
    """,
    "an index or None": """
        a = bpf.array(u32, 8)
        best = None
        n = 0
        for i in range(60):
            x = ctx.read(u8, i)
            if x > 200:
                best = x & 7
            elif x < 20:
                best = None
            if x & 1:
                n += 1
            if best is not None:
                a[best] += 1
                if n == 30 and a[best] > 3:
                    break
        if best is None:
            return n
        return u8(a[best])
    """,
}

FUNCTIONS = {
    "a function that counts in a struct": """
        @bpf.noinline
        def bump(c: Counters, x: u32) -> None:
            if x > 100:
                c.first += 1
            if x > 200:
                c.second += 1

        @bpf.xdp(on_error=1)
        def program(ctx: bpf.Xdp) -> int:
            c = Counters(first=0, second=0)
            for i in range(60):
                bump(c, ctx.read(u8, i))
                if c.first == 20 and c.second == 3:
                    break
            return u8(c.first)
    """,
    "a function with a loop that counts in a struct": """
        @bpf.noinline
        def walk(c: Counters, x: u32) -> None:
            for i in range(40):
                t = table[(i + x) & 15]
                if t > 100:
                    c.first += 1
                if t > 200:
                    c.second += 1

        @bpf.xdp(on_error=1)
        def program(ctx: bpf.Xdp) -> int:
            c = Counters(first=0, second=0)
            walk(c, ctx.read(u8, 0))
            if c.first == 20 and c.second == 3:
                return 3
            return u8(c.first)
    """,
}

SOURCES = {name: source_of(HEAD, body) for name, body in LOOPS.items()} | {
    name: source_of("", body) for name, body in FUNCTIONS.items()
}


@pytest.mark.skipif(os.geteuid() != 0, reason="running programs on the kernel needs root")
@pytest.mark.parametrize("name", SOURCES)
def test_the_verifier_follows(name: str) -> None:
    with pinned():
        judgement = judge(SOURCES[name], "loop", packets(1), check=True)
    assert judgement.verdict is Verdict.AGREED, f"{judgement.verdict.value}\n{judgement.text}"
