"""Sizes of helpers that only the compiler knows to fit, and helpers that take any number of values."""

from __future__ import annotations

import os

import pytest

import pyebpf as bpf
from pyebpf import u32

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="loading programs needs root")

bpf.license("GPL")


@bpf.noinline
def second_byte(skb: bpf.SkBuff, n: u32) -> int:
    """The verifier knows no remainder, and there is no error to leave by: a size of 0 would be refused."""
    data = bpf.chars(16)
    if bpf.skb_load_bytes(skb, 0, data, n % 15 + 2) != 0:
        return 3
    return int(data[1])


@bpf.tc(on_error=9)
def sized(skb: bpf.SkBuff) -> int:
    return second_byte(skb, len(skb)) + second_byte(skb, 14)


@bpf.xdp
def printed(ctx: bpf.Xdp) -> int:
    bpf.trace_printk(b"%d %d\n\0", 7, len(ctx), 7)
    return bpf.XDP_PASS


@pytest.mark.parametrize("machine", [False, True], ids=["kernel", "machine"])
def test_a_size_that_only_the_compiler_knows(machine: bool) -> None:
    assert sized.run(bytes(range(60)), machine=machine).verdict == 2


def test_a_helper_with_more_values_than_its_table_names() -> None:
    assert printed.run(bytes(60)).verdict == bpf.XDP_PASS
