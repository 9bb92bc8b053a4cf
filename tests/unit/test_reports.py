"""``pyebpf check -v`` and ``--cost``: the stack, the loops, and what the verifier does, by line."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from pyebpf.cli import import_file, main, programs_of
from pyebpf.driver import compile_programs
from pyebpf.runtime.load import load

SOURCE = """\
import pyebpf as bpf
from pyebpf import u8, u32, u64

bpf.license("GPL")

table = bpf.ArrayMap[u32, u64](max_entries=16)


@bpf.noinline
def total(k: u32) -> u64:
    words = bpf.array(u64, 12)
    for i in range(12):
        words[i] = table[i] ^ k
    return words[k % 12]


@bpf.xdp
def program(ctx: bpf.Xdp) -> int:
    big = bpf.array(u64, 100)
    n = 0
    for i in range(100_000):
        n += table[i & 15]
        big[i % 100] = n

    def body(i: u32) -> None:
        nonlocal n
        n += i

    bpf.loop(50, body)
    return u8(n + total(ctx.read(u8, 0)) + big[3])
"""

STACK_AND_LOOPS = """\
  stack of program: 48 bytes; with what it calls 192 of 512
        8  key, line 18
        8  iterator, line 21
        8  n, line 21
        8  body, line 29
        8  total, line 30
        8  numbers that found no register
  stack of total: 104 bytes; with what it calls 128 of 512
       96  words, line 11
        8  key, line 13
  stack of body: 0 bytes; with what it calls 32 of 512
  scratch memory program_scratch: 808 bytes, 8 for each CPU
  loop in line 12 (total): its counter; the kernel follows up to 12 rounds of about 13 instructions and 1 tests
  loop in line 21 (program): an iterator of the kernel; up to 100000 rounds of about 15 instructions and 1 tests are \
too many instructions to follow
  loop in line 29 (program): a callback (bpf_loop); the kernel verifies body, about 4 instructions, until nothing \
changes any more
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "reported.py"
    path.write_text(SOURCE)
    return path


def lines_of(text: str) -> dict[str, list[int]]:
    """The numbers of a table, by what stands behind them."""
    rows = [
        line.split() for line in text.splitlines() if line.startswith("  ") and line.split()[0].isdecimal()
    ]
    return {
        row[-1] if row[-1] == "together" else next(w for w in row if ":" in w): _numbers(row) for row in rows
    }


def _numbers(row: list[str]) -> list[int]:
    found = []
    for word in row:
        if not word.isdecimal():
            break
        found.append(int(word))
    return found


def test_the_stack_and_the_loops_are_told(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "-v", "--kernel", "6.12", str(file)]) == 0
    head, _, rest = capsys.readouterr().out.partition("\n")
    assert head.startswith(f"{file}: program: ")
    assert rest == STACK_AND_LOOPS


def test_the_cost_of_each_line_is_estimated(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "--cost", "--kernel", "6.12", str(file)]) == 0
    told = capsys.readouterr().out
    assert told.splitlines()[-1] == "  not measured: another kernel is meant"
    lines = lines_of(told)
    once, often = lines["reported.py:11"], lines["reported.py:13"]
    assert once[1] == once[0]
    assert often[1] == 12 * often[0], "a line of a loop that is followed is passed in every round"
    inside = lines["reported.py:22"]
    assert inside[1] == 4 * inside[0], "one over an iterator only until nothing changes"
    columns = list(zip(*(numbers for place, numbers in lines.items() if place != "together"), strict=True))
    assert lines["together"] == [sum(column) for column in columns]


@pytest.mark.skipif(os.geteuid() != 0, reason="asking the verifier needs root")
def test_the_measured_cost_is_what_the_verifier_processed(
    file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["check", "--cost", str(file)]) == 0
    lines = lines_of(capsys.readouterr().out)
    _, estimated, measured = lines["together"]
    (program,) = programs_of(import_file(file))
    with load(compile_programs([program]).object) as loaded:
        assert measured == loaded.programs["program"].info().verified_insns
    assert estimated / 4 < measured < estimated * 4
