"""Where the arguments of a USDT probe are, the loader says."""

import pyebpf as bpf
from pyebpf import i32, i64, u32

bpf.license("GPL")
seen = bpf.ArrayMap[u32, i64](max_entries=8)


@bpf.usdt("libshop", "shop", "sale")
def sold(unused: int, price: i32) -> None:
    seen[0] = price


@bpf.usdt("libshop", "shop", "idle")
def idle(ctx: bpf.PtRegs) -> None:
    seen[0] = i64(bpf.get_attach_cookie(ctx))
