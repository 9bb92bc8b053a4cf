"""Whatever a log says, it is explained: the reader of verifier logs never raises, and a place is always told."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pyebpf.codes import Code
from pyebpf.diagnostics import render
from pyebpf.object import LineInfo
from pyebpf.runtime.rejection.explain import explain
from pyebpf.runtime.rejection.parse import parse
from pyebpf.runtime.rejection.source import Source, read_source
from tests.golden.rejected import cases, read_log
from tests.unit.rejection.test_table import MESSAGES

LOGS = [read_log(case.path) for case in cases()]
SOURCES = [
    Source(),
    Source("prog", "XDP", (LineInfo(3, "gone.py", 7, 1023, ""), LineInfo(5, "", 0, 0, "x")), ((2, "f"),)),
    *(log.source for log in LOGS[:8] if log.source is not None),
]


def check(text: str, source: Source) -> Code:
    """Explain ``text``; the code."""
    diagnostic = explain(text, source)
    assert render(diagnostic)
    assert diagnostic.span.end_column > diagnostic.span.column >= 0
    return diagnostic.code


def mutate(text: str, choose: random.Random) -> str:
    """``text`` with lines and characters lost, doubled, swapped, replaced or of another log."""
    lines = text.splitlines()
    for _ in range(choose.choice((1, 2, 4, 8))):
        at = choose.randrange(len(lines) + 1)
        match choose.randrange(7):
            case 0:
                del lines[at : at + choose.randrange(1, 4)]
            case 1:
                lines[at:at] = lines[at - 1 : at + 2]
            case 2:
                choose.shuffle(lines)
            case 3:
                lines.insert(at, choose.choice(choose.choice(LOGS).log.splitlines()))
            case 4:
                lines.insert(at, choose.choice(MESSAGES)[2])
            case 5 if lines:
                line = lines[at % len(lines)]
                cut = choose.randrange(len(line) + 1)
                lines[at % len(lines)] = line[:cut] + choose.choice(
                    ("", "(", ")", "=", "9" * 5000, "\0", "é")
                )
                lines[at % len(lines)] += line[cut + choose.randrange(3) :]
            case _:
                words = " ".join(lines[:at]).split(" ")
                lines[:at] = [" ".join(words[n : n + 9]) for n in range(0, len(words), 9)]
    return "\n".join(lines)


@pytest.mark.parametrize("series", range(4))
def test_mutated_logs(series: int) -> None:
    choose = random.Random(series)
    seen = {check(mutate(choose.choice(LOGS).log, choose), choose.choice(SOURCES)) for _ in range(1000)}
    assert len(seen) > 25 and Code.E1100 in seen  # what is left of a log is still understood, or not


@settings(max_examples=300, deadline=None)
@given(st.text(max_size=400))
def test_any_text(text: str) -> None:
    check(text, SOURCES[0])
    check(f"0: R1=ctx() R10=fp0\n0: (79) {text}\n{text}", SOURCES[1])


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=64), st.binary(max_size=64), st.binary(max_size=96))
def test_any_records(funcs: bytes, lines: bytes, types: bytes) -> None:
    source = read_source("prog", "XDP", funcs, lines, b"\x9f\xeb\1\0" + types)
    check("0: (95) exit\nR0 !read_ok", source)


def test_a_huge_log_is_read_from_its_end() -> None:
    line = "5: (07) r1 += 1                       ; R1=scalar(smin=0,smax=umax=4294967295)\n"
    text = line * 200_000 + "6: (79) r0 = *(u64 *)(r1 +0)\nR1 invalid mem access 'scalar'\n"
    assert len(parse(text).steps) < 100_000
    assert check(text, SOURCES[0]) is Code.E1102
    assert check("x" * 10_000_000, SOURCES[0]) is Code.E1100
