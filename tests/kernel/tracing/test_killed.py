"""A tool that is killed leaves nothing behind: its programs are detached and gone."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pyebpf.runtime.listing import loaded_links, loaded_maps, loaded_programs

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="tracing needs root")

SAMPLES = Path(__file__).resolve().parents[3] / "samples"
LIMIT = 60


def of_descriptors(process: int, kind: str) -> set[int]:
    """The ids of the programs, maps or links that a process has descriptors of."""
    found = set()
    for entry in Path(f"/proc/{process}/fdinfo").iterdir():
        for line in entry.read_text().splitlines():
            name, _, number = line.partition(":")
            if name == f"{kind}_id":
                found.add(int(number))
    return found


def test_a_killed_consumer_leaves_nothing_attached() -> None:
    with subprocess.Popen(
        [sys.executable, str(SAMPLES / "opensnoop.py")], stdout=subprocess.PIPE, text=True
    ) as tool:
        assert tool.stdout is not None
        assert any("PATH" in line for line in tool.stdout), "it ended"
        programs, maps = of_descriptors(tool.pid, "prog"), of_descriptors(tool.pid, "map")
        links = {link.id for link in loaded_links() if link.program_id in programs}
        assert (len(programs), len(maps), len(links)) == (6, 2, 6)
        tool.send_signal(signal.SIGKILL)
    end = time.monotonic() + LIMIT
    while time.monotonic() < end:
        left = programs & {one.id for one in loaded_programs()}
        left |= maps & {one.id for one in loaded_maps()} | links & {one.id for one in loaded_links()}
        if not left:
            return
        time.sleep(0.1)  # the kernel frees them a little later
    raise AssertionError(f"still there after {LIMIT} s: {left}")
