"""XDP: bit arithmetic over packet words (population count, byte swap, bit reversal, leading zeros)."""

from __future__ import annotations

import pyebpf as bpf
from pyebpf import be32, be64, u32, u64

bpf.license("GPL")


@bpf.struct
class Words:
    """The first 32 bytes."""

    counted: list[int] = bpf.array(u64, 2)
    swapped: list[int] = bpf.array(be64, 2)


out = bpf.PerCpuArray[u32, u64](max_entries=4)


def population(word: u64) -> int:
    """How many bits are set."""
    word -= word >> 1 & 0x5555555555555555
    word = (word & 0x3333333333333333) + (word >> 2 & 0x3333333333333333)
    word = word + (word >> 4) & 0x0F0F0F0F0F0F0F0F
    return word * 0x0101010101010101 >> 56


def reverse_bits(word: u32) -> int:
    """The 32 bits in the opposite order."""
    word = word >> 1 & 0x55555555 | (word & 0x55555555) << 1
    word = word >> 2 & 0x33333333 | (word & 0x33333333) << 2
    word = word >> 4 & 0x0F0F0F0F | (word & 0x0F0F0F0F) << 4
    return bpf.htonl(word)


def leading_zeros(word: u32) -> int:
    """How many of the 32 bits before the first set one are zero."""
    return 31 - bpf.log2(word) if word else 32


@bpf.xdp(on_error=bpf.XDP_DROP)
def xdp_bits(ctx: bpf.Xdp) -> int:
    """Shorter packets are dropped."""
    words = ctx.read(Words, 0)
    ones = population(words.counted[0]) + population(words.counted[1])
    leading = leading_zeros(ctx.read(be32, 28))
    mixed = words.swapped[0] ^ words.swapped[1] ^ reverse_bits(ctx.read(u32, 24))
    out[0] = mixed + (ones << 8) + leading
    return bpf.XDP_PASS if (ones + leading) & 1 else bpf.XDP_TX
