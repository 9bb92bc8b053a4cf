# ruff: noqa
# mypy: ignore-errors
# fmt: off
"""Global functions that return no integer."""

import pyebpf as bpf
from pyebpf import i32, u8, u16, u64

total = bpf.Global[u64](0)


@bpf.struct
class Pair:
    one: u16
    two: i32


@bpf.global_function
def pair(one: u8) -> Pair:  # error: E0909
    return Pair(one=one)


@bpf.global_function
def add(one: u8) -> None:  # error: E0909
    total.value += one


@bpf.socket_filter
def program(skb: bpf.SkBuff) -> int:
    add(1)
    return pair(1).one
