# ruff: noqa
# mypy: ignore-errors
"""A lambda as a program."""

import pyebpf as bpf

program = bpf.socket_filter(lambda skb: 0)  # error: E0103
