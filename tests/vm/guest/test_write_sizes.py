"""The object of ``samples/write_sizes.py``, built on the host and loaded by libbpf and bpftool, counts exactly what a process
writes."""

from __future__ import annotations

import contextlib
import os
import shutil
import struct
import subprocess
from collections.abc import Iterable
from pathlib import Path

import pytest

from pyebpf.runtime.attach.kprobe import attach_kprobe
from pyebpf.runtime.availability import Way, obstacle
from pyebpf.runtime.maps import HashMap
from pyebpf.runtime.pinned import open_pinned
from pyebpf.runtime.program import LoadedProgram
from pyebpf.runtime.syscall_wrapper import syscall_function
from tests.samples.traced import write
from tests.vm.libbpf import LibbpfObject

KEY = struct.Struct("=IIQ16s")
BPFFS = Path("/sys/fs/bpf")

pytestmark = pytest.mark.skipif(bool(obstacle(Way.KPROBE)), reason=obstacle(Way.KPROBE) or "-")


def prepare(folder: Path) -> None:
    """Compile the sample for 6.1."""
    from pyebpf.target import Target
    from tests.vm.building import sample

    folder.mkdir(parents=True, exist_ok=True)
    with sample("write_sizes") as module:
        (folder / "write_sizes.o").write_bytes(module.write_sizes.compile(Target(kernel=(6, 1))).elf())


def check(items: Iterable[tuple[bytes, bytes]], pid: int) -> None:
    """The process wrote 17 times 100 bytes, and 5 times 5000."""
    found = {}
    for key, value in items:
        slot, uid, thread, comm = KEY.unpack(key)
        if thread >> 32 == pid:
            found[slot] = int.from_bytes(value, "little")
            assert uid == os.getuid()
            assert comm.rstrip(b"\0").startswith(b"python")
    assert found == {6: 17, 12: 5}


def test_libbpf(prepared: Path) -> None:
    with LibbpfObject(prepared / "write_sizes.o") as loaded:
        with loaded.attached("write_sizes"):
            pid = int(write())
        check(loaded.items("sizes", KEY.size, 8), pid)


def test_bpftool(prepared: Path) -> None:
    """bpftool loads it, and attaches it too where it can (7.2; Debian 12 has 7.1): then links are pinned."""
    if not os.path.ismount(BPFFS):
        subprocess.run(["mount", "-t", "bpf", "bpf", BPFFS], check=True)
    folder = BPFFS / "write_sizes"
    folder.mkdir()
    try:
        attaches = "autoattach" in bpftool("prog", "help")
        programs, maps = folder / "programs", folder / "maps"
        more = ["autoattach"] if attaches else []
        bpftool("prog", "loadall", prepared / "write_sizes.o", programs, "pinmaps", maps, *more)
        with open_pinned(programs / "write_sizes") as pinned, open_pinned(maps / "sizes") as sizes:
            assert isinstance(sizes, HashMap)
            with contextlib.ExitStack() as stack:
                if not attaches:
                    assert isinstance(pinned, LoadedProgram)
                    stack.enter_context(attach_kprobe(pinned, syscall_function("write")))
                pid = int(write())
            check(sizes.items(), pid)
    finally:
        shutil.rmtree(folder)


def bpftool(*words: str | Path) -> str:
    """What it says."""
    done = subprocess.run(["bpftool", *words], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, f"{words}: {done.stdout}{done.stderr}"
    return done.stdout + done.stderr
