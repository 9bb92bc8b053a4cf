"""Logs as data: states in the notations of several releases, the way through the program, and where values came from."""

from __future__ import annotations

import pytest

from pyebpf.runtime.rejection.parse import parse
from pyebpf.runtime.rejection.state import states
from pyebpf.runtime.rejection.trace import base_register, follow, operand
from pyebpf.runtime.rejection.words import range_words, value_words


@pytest.mark.parametrize(
    "text, kind, unsigned",
    [
        ("R1=7", "scalar", (7, 7)),
        ("R1_w=P7", "scalar", (7, 7)),
        ("R1_w=invP7", "scalar", (7, 7)),
        ("R1_rw=inv0x1f", "scalar", (31, 31)),
        ("R1=inv(id=0,umax_value=255,var_off=(0x0; 0xff))", "scalar", (0, 255)),
        ("R1_w=Pscalar(umin=14,umax=74,var_off=(0x2; 0x7c))", "scalar", (14, 74)),
        ("R1=scalar(smin=umin=smin32=umin32=14,smax=umax=smax32=umax32=74)", "scalar", (14, 74)),
        ("R1=scalar(smin=0,smax=umax=0xffffffff,var_off=(0x0; 0xffffffff))", "scalar", (0, 0xFFFFFFFF)),
        ("R1=scalar()", "scalar", (0, (1 << 64) - 1)),
        ("R1=ctx(id=0,off=0,imm=0)", "ctx", (0, (1 << 64) - 1)),
        ("R1=fp-16", "fp", (0, (1 << 64) - 1)),
        ("R1=trusted_ptr_task_struct(off=8)", "trusted_ptr_task_struct", (0, (1 << 64) - 1)),
    ],
)
def test_values(text: str, kind: str, unsigned: tuple[int, int]) -> None:
    value = states(text)["R1"]
    assert (value.kind, value.unsigned) == (kind, unsigned)


def test_a_line_of_states() -> None:
    found = states("R0_w=map_value_or_null(id=1,map=m,ks=4,vs=8) R10=fp0 fp-8_w=mmmm???? fp-16=ctx refs=2 cb")
    assert {name: value.kind for name, value in found.items()} == {
        "R0": "map_value_or_null",
        "R10": "fp",
        "fp-8": "bytes",
        "fp-16": "ctx",
    }
    assert found["R0"].nullable and found["R0"].facts["map"] == "m"
    assert states("") == states("R1=") == states("r1 = 7") == {}


def test_words() -> None:
    def words(text: str) -> str:
        return value_words(states(f"R1={text}")["R1"])

    assert words("map_value(map=flows,ks=4,vs=8)") == "a value of map `flows`"
    assert words("map_value(map=prog.bss,ks=4,vs=8)") == "module variables (`prog.bss`)"
    assert words("rcu_ptr_task_struct()") == "a kernel object (task_struct)"
    assert words("scalar(umax=9)") == "a number in 0 … 9"
    assert words("5") == "the number 5"
    assert words("scalar()") == "a number"
    assert range_words(states("R1=scalar(smin=-3,smax=3)")["R1"]) == "-3 … 3"


WAY = """\
func#0 @0
Live regs before insn:
      0: .1........ (bf) r6 = r1
0: R1=ctx() R10=fp0
; length = skb.len @ a.py:3
0: (61) r6 = *(u32 *)(r1 +0)          ; R1=ctx() R6=scalar(umax=4294967295)
1: (25) if r6 > 0x10 goto pc+3        ; R6=scalar(umax=16)
2: (b7) r0 = 0                        ; R0=0
3: (95) exit
mark_precise: frame0: last_idx 3 first_idx 0 subseq_idx -1

from 1 to 5: R1=ctx() R6=scalar(umin=17,umax=4294967295) R10=fp0
5: (7b) *(u64 *)(r10 -8) = r6         ; R6=scalar(umin=17,umax=4294967295) fp-8=scalar(umin=17)
6: (79) r2 = *(u64 *)(r10 -8)         ; R2=scalar(umin=17)
7: (67) r2 <<= 3
8: (0f) r1 += r2
9: (71) r0 = *(u8 *)(r1 +4)
dereference of modified ctx ptr R1 off=4 disallowed
verification time 80 usec
stack depth 8
processed 10 insns (limit 1000000) max_states_per_insn 0 total_states 1 peak_states 1 mark_read 0
"""


def test_the_way_is_that_which_led_to_the_refusal() -> None:
    log = parse(WAY)
    assert [step.slot for step in log.steps] == [0, 1, 5, 6, 7, 8, 9]
    assert log.steps[1].jumped
    assert log.steps[2].before["R6"].unsigned == (17, 0xFFFFFFFF)
    assert log.reason == ["dereference of modified ctx ptr R1 off=4 disallowed"]
    assert log.walked[3] == 1


def test_values_are_followed_through_copies_and_the_stack() -> None:
    steps = parse(WAY).steps
    last = len(steps) - 1
    moved = follow(steps, last, "R1")
    assert moved.made is None and moved.place == "R1"
    assert [(steps[change.at].slot, change.other) for change in moved.changes] == [(8, "R2")]
    index = follow(steps, moved.changes[0].at, "R2")
    assert index.made == 0 and index.place == "R6"
    assert [steps[at].slot for at in index.tests] == [1]
    assert [steps[change.at].slot for change in index.changes] == [7]


CALLS = """\
0: R1=ctx() R10=fp0
0: (bf) r6 = r1                       ; R1=ctx() R6=ctx()
1: (85) call pc+4
caller:
 R6=ctx() R10=fp0
callee:
 frame1: R1=ctx() R10=fp0
6: frame1: R1=ctx() R10=fp0
6: (61) r7 = *(u32 *)(r1 +0)          ; frame1: R1=ctx() R7=scalar(umax=4294967295)
7: (bf) r0 = r7                       ; frame1: R0=scalar(id=1,umax=4294967295)
8: (95) exit
returning from callee:
 frame1: R0=scalar(id=1,umax=4294967295) R10=fp0
to caller at 2:
 R0=scalar(id=1,umax=4294967295) R6=ctx() R10=fp0

from 8 to 2: R0=scalar(id=1,umax=4294967295) R6=ctx() R10=fp0
2: (79) r0 = *(u64 *)(r0 +0)
R0 invalid mem access 'scalar'
"""


def test_results_are_followed_into_functions() -> None:
    steps = parse(CALLS).steps
    assert [(step.slot, step.frame) for step in steps] == [(0, 0), (1, 0), (6, 1), (7, 1), (8, 1), (2, 0)]
    assert steps[-1].before["R0"].unsigned == (0, 0xFFFFFFFF)
    assert steps[follow(steps, 5, "R0").made or 0].slot == 6
    assert follow(steps, 2, "R1").made is None  # the context, handed on


def test_messages_without_a_new_line_and_without_instructions() -> None:
    log = parse(
        "0: R1=ctx()\n0: (85) call bpf_tail_call#12\nexpected prog array mapprocessed 3 insns (limit 9)"
    )
    assert log.reason == ["expected prog array map"]
    log = parse("arg#0 reference type('UNKNOWN ') size cannot be determined: -22\nunreachable insn 2\n")
    assert log.reason == ["unreachable insn 2"] and not log.steps
    log = parse("arg#0 reference type('FWD x') size cannot be determined: -22\n")
    assert log.reason == ["arg#0 reference type('FWD x') size cannot be determined: -22"]


def test_a_structured_report_is_kept_whole() -> None:
    log = parse(
        "0: (95) exit\nR0 !read_ok\n\nVerification failed: Memory Safety: Bad\n\nReason:\n  So.\nprocessed 1 insns"
    )
    assert (log.category, log.problem, log.reason) == ("Memory Safety", "Bad", ["R0 !read_ok"])
    assert [line for line in log.report if line] == [
        "Verification failed: Memory Safety: Bad",
        "Reason:",
        "  So.",
    ]


def test_registers_of_instructions() -> None:
    assert base_register("r0 = *(u8 *)(r2 +0)") == base_register("*(u32 *)(r2 -4) = r1") == "R2"
    assert base_register("lock *(u64 *)(r3 +8) += r1") == "R3"
    assert (base_register("r1 += r2"), operand("r1 += r2")) == ("R1", "R2")
    assert (base_register("call bpf_loop#181"), operand("r1 += 8")) == (None, None)


def test_giving_up_may_stand_behind_an_instruction() -> None:
    log = parse(
        "0: R1=ctx() R10=fp0\n"
        "126: (bf) r4 = r6                     ; R4=3 R6=3\n"
        "127: (2d) if r4 > r6 goto pc+2 BPF program is too large. Processed 1000001 insn\n"
        "processed 1000001 insns (limit 1000000) max_states_per_insn 4 total_states 9 peak_states 9 mark_read 1\n"
    )
    assert log.reason == ["BPF program is too large. Processed 1000001 insn"]
    assert log.steps[-1].text == "if r4 > r6 goto pc+2"
