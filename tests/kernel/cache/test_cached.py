"""A program from the cache is the program that was compiled: the same bytes in the kernel, the same maps and variables."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="loading programs needs root")

SCRIPT = """
from __future__ import annotations
import json, sys
import pyebpf as bpf
from pyebpf import u32, u64

bpf.license("GPL")

@bpf.struct
class Record:
    count: u64
    last: u32

records = bpf.HashMap[u32, Record](max_entries=8)
total = bpf.Global[u64](5)
runs = bpf.Global[u32](0)
step = bpf.Const[u32](3)

@bpf.socket_filter
def first(skb: bpf.SkBuff) -> int:
    length = u32(len(skb))
    found = records.get(length)
    if found is None:
        records[length] = Record(1, 2)
    else:
        found.count += 10
    total.value += step.value
    return 7

@bpf.socket_filter
def second(skb: bpf.SkBuff) -> int:
    runs.value += 1
    total.value += 100
    return 8

if len(sys.argv) > 1:
    step.value = int(sys.argv[1])
out = {}
for program in (first, second, first):
    out[program.name] = program.run(bytes(64)).verdict
    out[program.name + " code"] = program.load().xlated().hex()
    out[program.name + " tag"] = program.load().info().tag
out["records"] = repr(dict(records.items()))
out["values"] = [total.value, runs.value, step.value]
out["sections"] = [v.__bpf__.section for v in (total, runs, step)]
out["names"] = [d.__bpf__.name for d in (records, total, runs, step)]
out["compiled"] = "pyebpf.frontend.infer" in sys.modules
out["prepared"] = not sys.modules.keys() & {"pyebpf.btf", "pyebpf.runtime.linker", "pyebpf.backend.insn"}
print(json.dumps(out))
"""


def run(tmp_path: Path, *arguments: str, **environment: str) -> dict[str, Any]:
    """Run the script in a process of its own; what it printed."""
    script = tmp_path / "script.py"
    if not script.exists():
        script.write_text(SCRIPT)
    given = dict(os.environ, PYEBPF_CACHE_DIR=str(tmp_path / "cache"), **environment)
    if "PYEBPF_CACHE" not in environment:
        given.pop("PYEBPF_CACHE", None)
    done = subprocess.run(
        [sys.executable, str(script), *arguments], env=given, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def code(found: dict[str, Any]) -> dict[str, Any]:
    """What was printed, without map and program ids, which xlated instructions hold."""
    ways = ("compiled", "prepared")
    return {name: value for name, value in found.items() if not name.endswith(" code") and name not in ways}


def lengths(found: dict[str, Any]) -> list[int]:
    """How long the instructions of each program are."""
    return [len(value) for name, value in found.items() if name.endswith(" code")]


def test_from_the_cache_the_same_is_loaded(tmp_path: Path) -> None:
    without = run(tmp_path, PYEBPF_CACHE="0")
    compiled = run(tmp_path)
    cached = run(tmp_path)
    assert (without["compiled"], compiled["compiled"], cached["compiled"]) == (True, True, False)
    assert (without["prepared"], compiled["prepared"], cached["prepared"]) == (False, False, True)
    # The tag is the kernel's digest of the instructions before maps are put in.
    assert code(without) == code(compiled) == code(cached)
    assert lengths(without) == lengths(compiled) == lengths(cached)
    assert cached["values"] == [5 + 3 + 100 + 3, 1, 3] and cached["first"] == 7 and cached["second"] == 8
    assert "Record(count=11, last=2)" in cached["records"]


def test_another_constant_is_another_entry(tmp_path: Path) -> None:
    for step in ("4", "5", "4", "5"):
        assert run(tmp_path, step)["values"] == [5 + 2 * int(step) + 100, 1, int(step)]
    assert not run(tmp_path, "4")["compiled"] and run(tmp_path, "6")["compiled"]


def test_a_changed_file_is_compiled(tmp_path: Path) -> None:
    run(tmp_path)
    assert not run(tmp_path)["compiled"]
    (tmp_path / "script.py").write_text(SCRIPT.replace("found.count += 10", "found.count += 11"))
    changed = run(tmp_path)
    assert changed["compiled"] and "Record(count=12, last=2)" in changed["records"]


def test_damage_is_mended(tmp_path: Path) -> None:
    whole = run(tmp_path)
    files = list((tmp_path / "cache").iterdir())
    assert len(files) == 2
    for file in files:
        file.write_bytes(file.read_bytes()[:-9])
    mended = run(tmp_path)
    assert mended["compiled"] and code(mended) == code(whole)
