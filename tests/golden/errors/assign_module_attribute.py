# ruff: noqa
# mypy: ignore-errors
# fmt: off
"""An attribute of a module is assigned."""

import socket

import pyebpf as bpf


@bpf.socket_filter
def program(skb: bpf.SkBuff) -> int:
    socket.AF_INET = 3  # error: E0207
    return 0
