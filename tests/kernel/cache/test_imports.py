"""What a tool imports that starts from the cache: each module takes time, and a start has little of it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="loading programs needs root")

SCRIPT = """
from __future__ import annotations
import sys
import pyebpf as bpf
from pyebpf import u32, u64

bpf.license("GPL")

@bpf.struct
class Event:
    pid: u32

events = bpf.RingBuf[Event](4096)
calls = bpf.HashMap[u64, u64](max_entries=16)

@bpf.tracepoint("syscalls", "sys_enter_getppid")
def entered(ctx: bpf.Tracepoint) -> None:
    calls.update(bpf.get_current_pid_tgid(), 1)
    with events.reserve(Event) as event:
        if event is not None:
            event.pid = u32(bpf.get_current_pid_tgid() >> 32)

import os
with entered.attach():
    os.getppid()
    seen = [event.pid for event in events.poll(timeout=0) if event.pid == os.getpid()]
modules = sorted(sys.modules)
import json
print(json.dumps([len(seen), modules]))
"""
DEAR = (
    "argparse", "ast", "asyncio", "astroid", "dataclasses", "dis", "elftools", "enum", "inspect", "linecache", "logging",
    "pathlib", "platform", "pyebpf.backend", "pyebpf.btf", "pyebpf.codes", "pyebpf.frontend", "pyebpf.ir",
    "pyebpf.runtime.linker", "pyebpf.uapi.helpers", "re", "shutil", "socket", "subprocess", "tempfile", "textwrap",
    "threading", "tokenize", "typing", "urllib",
)  # fmt: skip


def start(tmp_path: Path) -> tuple[int, set[str]]:
    """Run the script without ``site``, which may import whatever is installed; the events it saw, and its modules."""
    packages = os.pathsep.join([str(ROOT), *{sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}])
    given = {**os.environ, "PYTHONPATH": packages, "PYEBPF_CACHE_DIR": str(tmp_path / "cache")}
    given.pop("PYEBPF_CACHE", None)
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    done = subprocess.run(
        [sys.executable, "-S", str(script)], env=given, capture_output=True, text=True, check=True
    )
    seen, modules = json.loads(done.stdout)
    return seen, set(modules)


def test_a_warm_start_imports_little(tmp_path: Path) -> None:
    seen, cold = start(tmp_path)
    assert seen == 1
    assert {"astroid", "typing", "pyebpf.frontend"} <= cold  # so that one would see it
    seen, warm = start(tmp_path)
    assert seen == 1
    assert warm & set(DEAR) == set()
    ours = {name for name in warm if name.split(".")[0] == "pyebpf"}
    assert len(ours) <= 75, "is there a reason for one more?"


@pytest.mark.parametrize("kind", ["tracepoint", "kprobe", "perf_event", "tracing", "iterator"])
def test_other_kinds_import_as_little(kind: str) -> None:
    """Without one that is attached: not every kernel has all of them. (uprobes read files of programs, and network hooks use
    ``socket``: these import more.)"""
    code = (
        f"import pyebpf.session, pyebpf.runtime.load, pyebpf.runtime.attach.{kind}, sys; print(*sys.modules)"
    )
    given = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-S", "-c", code], env=given, capture_output=True, text=True, check=True
    )
    assert set(done.stdout.split()) & set(DEAR) == set()
