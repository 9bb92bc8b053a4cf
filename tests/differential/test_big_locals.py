"""Objects that do not fit on the stack: every way to leave a function that has some, and to hand them on."""

from __future__ import annotations

import os

import pytest

from tests.differential.judge import DEFAULT_MACHINES, Verdict, judge, packets, pinned
from tests.differential.machines import Machine
from tests.differential.test_found import source_of

BIG = {
    "two KB": """
        @bpf.struct
        class Big:
            n: u32
            data: list[u64] = bpf.array(u64, 255)

        @bpf.xdp(on_error=1)
        def program(ctx: bpf.Xdp) -> int:
            b = Big(n=3)
            for i in range(255):
                b.data[i] = i * 3
            k = ctx.read(u8, 0)
            b.n += 1
            return u8(b.data[min(k, 254)] + b.n)
    """,
    "made in a function, passed to another, copied, kept after an exception": """
        @bpf.struct
        class Big:
            n: u32
            data: list[u64] = bpf.array(u64, 60)

        @bpf.noinline
        def make(k: u32) -> Big:
            b = Big(n=k)
            for i in range(60):
                b.data[i] = i ^ k
            if k == 77:
                raise ValueError
            return b

        @bpf.noinline
        def total(b: Big) -> u64:
            t: u64 = 0
            for i in range(60):
                t += b.data[i]
            b.n = 5
            return t

        @bpf.xdp(on_error=1)
        def program(ctx: bpf.Xdp) -> int:
            one = make(ctx.read(u8, 0))
            two = bpf.copy(one)
            two.data[3] = 9
            try:
                three = make(77)
            except ValueError:
                three = bpf.copy(two)
            s = total(three)
            return u8(s + one.data[3] + two.data[3] + three.n)
    """,
    "returned through finally": """
        @bpf.struct
        class Big:
            n: u32
            data: list[u32] = bpf.array(u32, 150)

        @bpf.noinline
        def make(k: u32) -> Big:
            b = Big(n=k)
            try:
                b.data[7] = 100 // (k - 3)
                return b
            except ZeroDivisionError:
                b.data[7] = 9
                return b
            finally:
                b.n += 4

        @bpf.xdp(on_error=1)
        def program(ctx: bpf.Xdp) -> int:
            return u8(make(3).n + make(5).data[7] + make(ctx.read(u8, 1)).data[7])
    """,
    "break, continue, return, exceptions and finally": """
        @bpf.xdp(on_error=1)
        def program(ctx: bpf.Xdp) -> int:
            a = bpf.array(u32, 200)
            for i in range(200):
                try:
                    a[i] = i
                    if i == 190:
                        break
                    if i & 3 == 2:
                        continue
                    a[ctx.read(u8, 5 + i)] += 2
                except IndexError:
                    a[3] += 1
                finally:
                    a[4] += 1
            else:
                return 7
            if a[4] == 3:
                raise KeyError
            n = 0
            for x in a:
                n += x
            return u8(n)
    """,
    "captured by a callback": """
        @bpf.xdp(on_error=1)
        def program(ctx: bpf.Xdp) -> int:
            a = bpf.array(u32, 200)
            n = 0

            def body(i: u32) -> None:
                nonlocal n
                a[i % 200] += 3
                n += a[(i + 1) % 200]

            bpf.loop(300, body)
            return u8(n + a[7])
    """,
    "in a callback, beside its state": """
        @bpf.struct
        class St:
            v: list[u32] = bpf.array(u32, 150)

        @bpf.xdp(on_error=1)
        def program(ctx: bpf.Xdp) -> int:
            st = St()

            def body(i: u32, s: St) -> bool:
                mine = bpf.array(u16, 300)
                mine[i % 300] = i
                s.v[i % 150] = mine[(i // 2) % 300] + 4
                return i == 120

            k = bpf.loop(300, body, st)
            return u8(k + st.v[120] + st.v[4])
    """,
    "objects that only together are too large": """
        @bpf.noinline
        def c(k: u32) -> u32:
            a = bpf.array(u32, 50)
            for i in range(50):
                a[i] = i * k
            return a[k % 50]

        @bpf.noinline
        def b(k: u32) -> u32:
            a = bpf.array(u32, 50)
            for i in range(5):
                a[i] = c(i)
            return a[k % 50]

        @bpf.xdp(on_error=1)
        def program(ctx: bpf.Xdp) -> int:
            a = bpf.array(u32, 50)
            for i in range(5):
                a[i] = b(i)
            return u8(a[ctx.read(u8, 0) % 50])
    """,
    "structs in an array, other names, printed, in a map and a record": """
        @bpf.xdp(on_error=1)
        def program(ctx: bpf.Xdp) -> int:
            big = bpf.array(Counters, 40)
            for c in big:
                c.first = 3
            big[3].second += ctx.read(u8, 3)
            other = big[ctx.read(u8, 2) % 40]
            other.first += 1
            counts[u32(big[3].second)] = other.first
            print(f"{big[1].first} {big[2].second} {other.first} {big[0].first}")
            with events.reserve(Inner) as e:
                if e is not None:
                    e.q = i32(other.first)
            return u8(counts[u32(big[3].second)])
    """,
    "called in a long loop": """
        @bpf.noinline
        def spread(k: u32) -> u32:
            a = bpf.array(u16, 300)
            a[k % 300] = 7
            a[(k + 5) % 300] += 1
            return a[5]

        @bpf.xdp(on_error=1)
        def program(ctx: bpf.Xdp) -> int:
            n = 0
            for i in range(3_000):
                n += spread(i)
                if n > 60_000:
                    break
            return u8(n)
    """,
}


@pytest.mark.skipif(os.geteuid() != 0, reason="running programs on the kernel needs root")
@pytest.mark.parametrize("name", BIG)
def test_objects_that_do_not_fit_on_the_stack(name: str) -> None:
    with pinned():
        judgement = judge(
            source_of("", BIG[name]), "big", packets(1), check=True, on=(*DEFAULT_MACHINES, Machine.LLVM_VM)
        )
    assert judgement.verdict is Verdict.AGREED, f"{judgement.verdict.value}\n{judgement.text}"
