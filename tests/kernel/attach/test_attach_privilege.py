"""What a process without capabilities is told. Programs are loaded with all of them, then they are given up."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import textwrap
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]

SCRIPT = """
    import ctypes, os
    from pyebpf import btf
    from pyebpf.runtime import listing
    from pyebpf.runtime.attach import iterator, perf_event, tracepoint, tracing, uprobe
    from pyebpf.runtime.errors import PermissionDenied
    from pyebpf.uapi.constants import AttachType, ProgType
    from tests.kernel.attach.programs import btf_id, counting, load_traced, loaded, member_offset, writes_field

    def give_up(kept):
        header = (ctypes.c_uint32 * 2)(0x20080522, 0)
        data = (ctypes.c_uint32 * 6)()
        for number in kept:
            for part in range(2):
                data[number // 32 * 3 + part] |= 1 << number % 32
        assert ctypes.CDLL(None).capset(header, data) == 0

    code = writes_field(8, member_offset("task_struct", "pid"), 4)
    tasks = load_traced(code, AttachType.TRACE_ITER, btf_id("bpf_iter_task"))
    with (
        loaded(ProgType.KPROBE, counting()) as probe,
        loaded(ProgType.RAW_TRACEPOINT, counting()) as raw,
        loaded(ProgType.PERF_EVENT, counting()) as sample,
    ):
        give_up({kept})
        before = len(os.listdir("/proc/self/fd"))
        for attach in (
            lambda: uprobe.attach_uprobe(probe.program, "libc", "getppid"),
            lambda: perf_event.attach_perf_event(sample.program, perf_event.SoftwareEvent.CPU_CLOCK, frequency=9),
            lambda: tracepoint.attach_raw_tracepoint(raw.program, "sys_enter"),
            lambda: iterator.attach_iter(tasks),
            lambda: listing.loaded_programs(),
        ):
            try:
                attach()
                print("done")
            except PermissionDenied as refused:
                print(refused)
        assert len(os.listdir("/proc/self/fd")) == before
"""
BPF, PERFMON = 39, 38


def answers(kept: list[int]) -> list[str]:
    """What the attempts end with when these capabilities are left."""
    code = textwrap.dedent(SCRIPT).replace("{kept}", str(kept))
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


@pytest.mark.parametrize("kept", [[], [BPF]])
def test_missing_capabilities_are_named(kept: list[int]) -> None:
    probe, sample, raw, tasks, listed = answers(kept)
    for text in (probe, sample):
        assert "lacks CAP_PERFMON" in text
        assert "perf_event_paranoid" in text
    # the kernel looked at privileges when it loaded these
    for text in (raw, tasks):
        assert text == "done" or "lacks CAP_" in text
    assert "lacks CAP_SYS_ADMIN" in listed


def test_the_two_capabilities_are_enough() -> None:
    probe, *attached, listed = answers([BPF, PERFMON])
    assert attached == ["done"] * 3
    # the rule for uprobes became stricter in 2025
    assert probe == "done" or "lacks CAP_SYS_ADMIN" in probe
    assert "lacks CAP_SYS_ADMIN" in listed


ORDINARY = """
    import os
    from pyebpf import tracepoint
    from pyebpf.driver import compile_programs, running_facts
    from pyebpf.runtime import event_format, tracefs
    from pyebpf.runtime.attach.probe_events import KPROBE_EVENTS, has_probe_events
    from pyebpf.runtime.errors import BpfError, Phase

    @tracepoint("sched/sched_process_exit")
    def first(ctx):
        return 0

    @tracepoint("sched/sched_process_exec")
    def second(ctx):
        return ctx.pid & 1

    def size(program):
        return len(compile_programs([program.__bpf__], facts=running_facts()).elf())

    size(first)  # whatever is imported is, while all files may be read
    os.setgroups([])
    os.setresgid(65534, 65534, 65534)
    os.setresuid(65534, 65534, 65534)
    print(size(second) > 100)
    for ask in (
        tracefs.root,
        lambda: tracefs.root(Phase.TRACE),
        tracefs.categories,
        lambda: tracefs.events("sched"),
        lambda: tracefs.event_id("sched", "sched_switch"),
        lambda: event_format.event_format("sched", "sched_switch"),
        tracefs.all_events,
    ):
        try:
            ask()
            print("done")
        except BpfError as refused:
            print(refused)
    has_probe_events(KPROBE_EVENTS)
"""


def test_an_ordinary_user_is_told_whose_tracefs_is_and_can_compile() -> None:
    with tempfile.TemporaryDirectory() as folder:
        script = Path(folder) / "script.py"
        script.write_text(textwrap.dedent(ORDINARY))
        Path(folder).chmod(0o755)
        done = subprocess.run(
            [sys.executable, str(script)],
            capture_output=True,
            text=True,
            cwd=ROOT,
            env={"PYTHONPATH": str(ROOT), "PYEBPF_CACHE": "0"},
            check=False,
        )
    assert done.returncode == 0, done.stderr
    compiled, *told = done.stdout.splitlines()
    assert compiled == "True"
    assert len(told) == 7
    for text in told:
        assert text == "done" or "the files in tracefs belong to root" in text
    assert told[1] == "done" or told[1].startswith("cannot read the trace pipe: EACCES")
