"""Strings of the kernel in programs: in events, of any length, and in its objects; compared, copied and printed."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

import pyebpf as bpf
from pyebpf import u32, u64
from pyebpf.kernel import task_struct

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="tracing needs root")

bpf.license("GPL")


@bpf.struct
class Path300:
    path: bytes = bpf.chars(300)


@bpf.struct
class Path8:
    path: bytes = bpf.chars(8)


wide = bpf.RingBuf[Path300](1 << 16)
narrow = bpf.RingBuf[Path8](1 << 16)
seen = bpf.ArrayMap[u32, u64](max_entries=8)


@bpf.tracepoint("sched", "sched_process_exec")
def executed(ctx: bpf.Tracepoint) -> None:
    if ctx.filename == b"/bin/true":
        seen[0] += 1
    if ctx.filename == b"/bin/tru":
        seen[1] += 1
    if ctx.filename != b"/bin/true2":
        seen[2] += 1
    if ctx.filename in (b"/bin/false", b"/bin/true"):
        seen[3] += 1
    task = bpf.cast(task_struct, bpf.get_current_task())
    if task.comm == b"true":
        seen[4] += 1
    if task.comm != b"tru":
        seen[5] += 1
    if task.comm == b"sixteen_bytes_xx":  # as long as the array, where a NUL is the last
        seen[6] += 1
    with wide.reserve(Path300) as one:
        if one is not None:
            one.path = ctx.filename
    with narrow.reserve(Path8) as two:
        if two is not None:
            two.path = ctx.filename


def test_strings_of_any_length(tmp_path: Path) -> None:
    folder = tmp_path / ("d" * 120)
    folder.mkdir()
    far = folder / "true"
    shutil.copy("/bin/true", far)
    with executed.attach():
        subprocess.run(["/bin/true"], check=True)
        subprocess.run([str(far)], check=True)
    names = [event.path for event in wide.read_all()]
    assert b"/bin/true" in names
    assert str(far).encode() in names
    # What is cut off ends in a NUL, as strings of the kernel do.
    assert [event.path for event in narrow.read_all()].count(b"/bin/tr") == names.count(b"/bin/true")
    assert seen[0] == names.count(b"/bin/true") == seen[3]
    assert seen[1] == 0
    assert seen[2] == len(names)
    assert seen[4] >= 2
    assert seen[5] == len(names)
    assert seen[6] == 0


@bpf.tracepoint("sched", "sched_process_exec")
def named(ctx: bpf.Tracepoint) -> None:
    name = ctx.filename
    if ctx.pid == 0:
        name = ctx.filename
    if name == b"/bin/true":
        seen[7] += 1


def test_a_string_of_an_event_in_a_variable() -> None:
    with named.attach():
        subprocess.run(["/bin/true"], check=True)
    assert seen[7] == 1
    named.close()
