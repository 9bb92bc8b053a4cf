"""Cells of IPython that are run again, with real attachments: what they define anew replaces what there was."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="attaching needs root")
ROOT = Path(__file__).resolve().parents[2]

DRIVER = """
import json, sys
from IPython.core.interactiveshell import InteractiveShell
shell = InteractiveShell.instance()
for text in json.load(sys.stdin):
    result = shell.run_cell(text, store_history=True, silent=False)
    if result.error_before_exec or result.error_in_exec:
        raise SystemExit("failed: " + text)
print("told " + json.dumps(shell.user_ns["told"]))
"""

START = """
import socket
import pyebpf as bpf
from pyebpf import u8, u32, u64
bpf.license("GPL")
told = []
receiver, sender = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
"""
STRUCT = """
@bpf.struct
class Stat:
    packets: u64
    octets: u64
"""
MAPS = """
stats = bpf.HashMap[u32, Stat](max_entries=4)
hits = bpf.Global[u64](0)
limit = 100
"""
HELPER = """
def shorter(length: u32) -> bool:
    return length < limit
"""
PROGRAM = """
@bpf.socket_filter
def keep(skb: bpf.SkBuff) -> int:
    if shorter(len(skb)):
        hits.value += 1
    stats[1] = Stat(packets=1, octets=len(skb))
    return 4
"""
ATTACH = """
first = link if "link" in globals() else None
link = keep.attach(receiver)
sender.send(b"Hello")
told.append(receiver.recv(16).decode())
"""
TELL = "told.append([link.attached, keep.loaded])"


def _told(*cells: str) -> list[object]:
    with tempfile.TemporaryDirectory() as directory:
        return _told_in(directory, cells)


def _told_in(directory: str, cells: Sequence[str]) -> list[object]:
    done = subprocess.run(
        [sys.executable, "-c", DRIVER],
        input=json.dumps(cells),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={**os.environ, "PYTHONPATH": str(ROOT), "IPYTHONDIR": directory},
    )
    lines = [line for line in done.stdout.splitlines() if line.startswith("told ")]
    assert done.returncode == 0 and lines, done.stdout + done.stderr
    found: list[object] = json.loads(lines[-1].removeprefix("told "))
    return found


SETUP = (START, STRUCT, MAPS, HELPER, PROGRAM, ATTACH)


@pytest.mark.parametrize("again", [PROGRAM, MAPS, HELPER], ids=["program", "maps", "helper"])
def test_running_a_cell_again_detaches(again: str) -> None:
    assert _told(*SETUP, TELL, again, TELL) == ["Hell", [True, True], [False, False]]


def test_other_cells_leave_it_attached() -> None:
    other = "@bpf.socket_filter\ndef other(skb: bpf.SkBuff) -> int:\n    return 1\n"
    assert _told(*SETUP, other, "other.load()", "limit = 3", TELL) == ["Hell", [True, True]]


def test_after_all_cells_again_the_new_ones_are_used() -> None:
    seen = "told.append([hits.value, stats[1].octets, len(stats)])"
    told = _told(*SETUP, seen, STRUCT, MAPS, HELPER, PROGRAM, ATTACH, seen, TELL)
    assert told == ["Hell", [1, 5, 1], "Hell", [1, 5, 1], [True, True]]


def test_programs_of_one_cell_stand_beside_each_other() -> None:
    loop = """
made = []
for number in range(3):
    @bpf.socket_filter
    def same(skb: bpf.SkBuff) -> int:
        return number + 1
    same.load()
    made.append(same)
"""
    assert _told(START, loop, "told.append([one.loaded for one in made])") == [[True, True, True]]


def test_programs_of_a_factory_stand_beside_each_other() -> None:
    factory = """
def make(size):
    @bpf.socket_filter
    def inner(skb: bpf.SkBuff) -> int:
        return size
    return inner
"""
    cells = (factory, "a = make(1); a.load()", "b = make(2); b.load()", "told.append([a.loaded, b.loaded])")
    assert _told(START, *cells) == [[True, True]]


def test_scripts_may_define_a_name_twice(tmp_path: Path) -> None:
    script = tmp_path / "twice.py"
    script.write_text("""
import pyebpf as bpf
made = []
for size in (1, 2):
    @bpf.socket_filter
    def same(skb: bpf.SkBuff) -> int:
        return size
    made.append(same)
    same.load()
print([one.loaded for one in made])
""")
    done = subprocess.run(
        [sys.executable, str(script)],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert (done.stdout, done.stderr) == ("[True, True]\n", "")
