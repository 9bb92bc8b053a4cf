"""The kernel and the machine beside each other in one process of root's, and what a process with too little gets."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Iterator

import pytest

import pyebpf as bpf
from pyebpf import u32, u64
from tests.samples.unprivileged import run

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="loading programs needs root")

bpf.license("GPL")

counts = bpf.ArrayMap[u32, u64](max_entries=4)
hits = bpf.Global[u64](0)


@bpf.xdp
def count(ctx: bpf.Xdp) -> int:
    """One of each."""
    counts[0] += 1
    hits.value += 1
    return bpf.XDP_PASS


@bpf.sk_skb_verdict
def judge(skb: bpf.SkBuff) -> int:
    """A kind without a test run."""
    return bpf.SK_DROP


@pytest.fixture(autouse=True)
def unloaded() -> Iterator[None]:
    """Every test starts and ends with nothing loaded."""
    yield
    count.close()
    judge.close()
    counts.close()


def test_the_kernels_maps_and_the_machines_are_not_the_same() -> None:
    before = hits.value
    assert count.run(bytes(60)).machine is False
    with bpf.machine():
        assert count.run(bytes(60)).machine is True
        count.run(bytes(60))
        assert counts[0] == 2
    assert (counts[0], hits.value) == (1, before + 1)
    assert count.loaded


def test_a_machine_for_one_run_forgets() -> None:
    counts[0] = 10
    for _ in range(2):
        assert count.run(bytes(60), machine=True).machine
    assert counts[0] == 10
    assert not count.loaded


def test_a_kind_without_a_test_run() -> None:
    with pytest.raises(bpf.BpfError, match="no test run for SK_SKB programs"):
        judge.run(bytes(60))
    assert judge.run(bytes(60), machine=True).verdict == bpf.SK_DROP


TOO_LITTLE = """
import port_firewall as sample
from frames import SYN, tcp
frame = tcp(("10.0.0.1", 1), ("10.0.0.2", 2222), SYN)
{touch}
print(sample.port_firewall.run(frame).machine)
"""


def test_a_program_that_is_refused_runs_in_the_machine() -> None:
    """CAP_BPF alone makes maps but loads no XDP program; nothing of the attempt stays."""
    done = run(["-c", TOO_LITTLE.format(touch="")], ("bpf",))
    assert done.stdout == "True\n"
    assert "MachineWarning" in done.stderr and "lacks CAP_NET_ADMIN" in done.stderr


def test_there_is_no_second_world_for_maps_that_were_touched() -> None:
    done = run(["-c", TOO_LITTLE.format(touch="sample.blocked[2222] = 1")], ("bpf",))
    assert done.returncode == 1
    last = done.stderr.splitlines()[-1]
    assert "PermissionDenied" in last and "lacks CAP_NET_ADMIN" in last
    assert "use `with bpf.machine():` for all of it" in last


@pytest.mark.parametrize("machine", [False, True])
def test_threads_that_come_first_together_share_one_load(
    machine: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYEBPF_CACHE", "0")  # compiling takes long enough for all of them to come
    with bpf.machine() if machine else contextlib.nullcontext():
        before = hits.value
        threads = [threading.Thread(target=count.run, args=(bytes(60),)) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert (counts[0], hits.value) == (8, before + 8)
