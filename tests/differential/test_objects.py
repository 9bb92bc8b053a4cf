"""Programs with records and packed structs with which the comparison once found a mistake."""

from __future__ import annotations

import os

import pytest

from tests.differential.judge import DEFAULT_MACHINES, Verdict, judge, packets, pinned
from tests.differential.machines import Machine
from tests.differential.test_found import source_of

FOUND = {
    "what is hidden of a packed struct, whose fields are not aligned": """
        @bpf.struct(packed=True)
        class Tight:
            s: u8
            t: u32
            x: i64

        @bpf.xdp(on_error=1)
        def program(ctx: bpf.Xdp) -> int:
            p = Tight()
            for i in range(300):
                v = table[i & 15]
                if v > 3:
                    p.x += 1
                if v > 5:
                    p.t += 3
                if p.x == 40 and p.t > 9:
                    break
            return u8(p.x + p.t)
    """,
    "indices that only the compiler knows to be inside, in functions that may not raise": """
        @bpf.global_function
        def remainder(k: u32) -> u64:
            words = bpf.array(u64, 40)
            words[k % 40] = 3
            for i in range(40):
                words[5] += words[i * 7 % 40]
            return words[5]

        @bpf.noinline
        def quotient(k: u8) -> u32:
            words = bpf.array(u32, 26)
            words[k // 10] = k
            return words[k // 11]

        @bpf.xdp(on_error=1)
        def program(ctx: bpf.Xdp) -> int:
            return u8(remainder(ctx.read(u8, 1)) + quotient(ctx.read(u8, 2)))
    """,
    "a number of the context that tests in loops and behind them look at": """
        NEEDLE = b"foobar"

        @bpf.tc(on_error=9)
        def program(skb: bpf.SkBuff) -> int:
            length = len(skb)
            first = skb.read(u8, 2)
            matched = 0
            for i in range(256):
                if i + 20 >= len(skb):
                    break
                if skb.load(u8, 20 + i) == NEEDLE[matched]:
                    matched += 1
                    if matched == 6:
                        return 2
                else:
                    matched = 0
            if matched == 6:
                table[len(skb) & 15] += 1641
            low = 255
            high = 0
            where = 0
            for j in range(20):
                if j + 20 >= len(skb):
                    break
                x = skb.read(u8, 20 + j)
                if x < low:
                    low = x
                elif x > high:
                    high = x
                    where = j
            table[first & 15] = 64
            if 128 <= first < 228 and length != 136:
                return 3
            return 2
    """,
    "a pointer to the stack that is left behind by a function that fills its caller's struct": """
        @bpf.noinline
        def f(a: i16, b: i16, c: u8, d: u64) -> Inner:
            numbers = bpf.array(i64, 3)
            numbers[2] = i64(111)
            numbers[0] = i64(d // 7)
            for x in numbers[:2]:
                if x == 2:
                    continue
                if 9 >= d:
                    break
            return Inner(p=u16(d), q=c & u16(narrow.value))

        @bpf.xdp(on_error=1)
        def program(ctx: bpf.Xdp) -> int:
            n = 0
            for i in range(3):
                n += f(3, i, ctx.read(u8, i), ctx.read(u32, 4)).p
            return u8(n)
    """,
    "records of the ring buffer, one after another": """
        @bpf.xdp(on_error=1)
        def program(ctx: bpf.Xdp) -> int:
            reserved = table[1]
            with events.reserve(Inner) as first:
                if first is not None:
                    first.p = 3
            with events.reserve(Inner) as second:
                if second is not None:
                    second.p = 4
            with events.reserve(Inner) as third:
                if third is not None:
                    third.p = reserved
            return 2
    """,
}


@pytest.mark.skipif(os.geteuid() != 0, reason="running programs on the kernel needs root")
@pytest.mark.parametrize("name", FOUND)
def test_what_was_found_stays_mended(name: str) -> None:
    machines = (*DEFAULT_MACHINES, Machine.LLVM_VM)
    with pinned():
        judgement = judge(source_of("", FOUND[name]), "found", packets(1), check=True, on=machines)
    assert judgement.verdict is Verdict.AGREED, f"{judgement.verdict.value}\n{judgement.text}"
