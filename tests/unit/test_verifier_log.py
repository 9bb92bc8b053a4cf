"""The verifier's log with the Python lines in it."""

from __future__ import annotations

from pyebpf.object import LineInfo
from pyebpf.verifier_log import interleave

LINES = {
    0: LineInfo(0, "/home/me/a.py", 7, 1, "    x = 1"),
    2: LineInfo(2, "/home/me/a.py", 8, 1, "    return x"),
}


def test_each_line_stands_above_its_instructions() -> None:
    log = [
        "0: R1=ctx() R10=fp0",
        "; x = 1 @ a.py:7",
        "0: (b7) r0 = 1      ; R0=1",
        "1: (bf) r1 = r0",
        "2: (95) exit",
    ]
    assert list(interleave(log, LINES)) == [
        "0: R1=ctx() R10=fp0",
        "a.py:7  x = 1",
        "0: (b7) r0 = 1      ; R0=1",
        "1: (bf) r1 = r0",
        "a.py:8  return x",
        "2: (95) exit",
    ]


def test_after_a_jump_back_the_line_is_told_again() -> None:
    log = ["2: (95) exit", "", "from 0 to 2: R0=0", "2: (95) exit"]
    told = list(interleave(log, LINES))
    assert told == [
        "a.py:8  return x",
        "2: (95) exit",
        "",
        "from 0 to 2: R0=0",
        "a.py:8  return x",
        "2: (95) exit",
    ]


def test_states_and_summaries_are_kept() -> None:
    log = ["func#0 @0", "; R1=ctx() of older kernels", "processed 3 insns (limit 1000000)"]
    assert list(interleave(log, {})) == log
