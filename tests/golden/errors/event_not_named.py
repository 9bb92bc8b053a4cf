"""The decorator does not name the event, so nobody knows its fields."""

from __future__ import annotations

import pyebpf as bpf

bpf.license("GPL")


@bpf.tracepoint
def program(ctx: bpf.Tracepoint) -> None:
    print(f"{ctx.pid}")  # error: E1201
