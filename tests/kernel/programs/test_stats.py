"""``prog.stats``: what the kernel counts of a program, while ``bpf.statistics()`` has that switched on."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

import pyebpf as bpf

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="loading programs needs root")

bpf.license("GPL")


@bpf.xdp
def passing(ctx: bpf.Xdp) -> int:
    return bpf.XDP_PASS


def test_runs_are_counted_while_counting_is_on() -> None:
    always = Path("/proc/sys/kernel/bpf_stats_enabled").read_text().strip() == "1"
    passing.run(bytes(64))
    with bpf.statistics():
        passing.run(bytes(64), repeat=100)
        passing.run(bytes(64), repeat=100)
    passing.run(bytes(64))
    stats = passing.stats
    assert stats.run_cnt == (202 if always else 200)
    assert 0 < stats.mean_ns <= stats.run_time_ns
    assert stats.recursion_misses == 0
    assert stats.verified_insns == 2
    passing.close()
