# ruff: noqa
# mypy: ignore-errors
# fmt: off
"""A lambda as a program."""

import pyebpf as bpf

program = bpf.socket_filter(lambda skb: 0)  # error: E0103
