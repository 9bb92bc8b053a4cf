"""The object of ``samples/write_sizes.py``, built on the host and loaded by libbpf, counts exactly what a process writes."""

from __future__ import annotations

import os
import struct
from pathlib import Path

import pytest

from pyebpf.runtime.availability import Way, obstacle
from tests.samples.traced import write
from tests.vm.libbpf import LibbpfObject

KEY = struct.Struct("=IIQ16s")


def prepare(folder: Path) -> None:
    """Compile the sample for 6.1."""
    from pyebpf.target import Target
    from tests.vm.building import sample

    folder.mkdir(parents=True, exist_ok=True)
    with sample("write_sizes") as module:
        (folder / "write_sizes.o").write_bytes(module.write_sizes.compile(Target(kernel=(6, 1))).elf())


def test_libbpf(prepared: Path) -> None:
    reason = obstacle(Way.KPROBE)
    if reason:
        pytest.skip(reason)
    with LibbpfObject(prepared / "write_sizes.o") as loaded:
        with loaded.attached("write_sizes"):
            pid = int(write())
        found = {}
        for key, value in loaded.items("sizes", KEY.size, 8):
            slot, uid, thread, comm = KEY.unpack(key)
            if thread >> 32 == pid:
                found[slot] = int.from_bytes(value, "little")
                assert uid == os.getuid()
                assert comm.rstrip(b"\0").startswith(b"python")
        assert found == {6: 17, 12: 5}
