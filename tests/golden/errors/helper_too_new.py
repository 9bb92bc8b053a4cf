# ruff: noqa
# mypy: ignore-errors
# fmt: off
"""A helper that the target kernel does not have."""

import pyebpf as bpf

bpf.license("GPL")


@bpf.xdp
def program(ctx: bpf.Xdp) -> int:
    bpf.get_current_pid_tgid()  # error: E0803
    return bpf.XDP_PASS
