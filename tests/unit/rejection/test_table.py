"""Every wording of every row of the table, with the code that it leads to."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest

from pyebpf.codes import Code
from pyebpf.diagnostics import Diagnostic
from pyebpf.object import LineInfo
from pyebpf.runtime.rejection.explain import explain
from pyebpf.runtime.rejection.rules import Blame, Rule
from pyebpf.runtime.rejection.source import Source
from pyebpf.runtime.rejection.table import RULES, find

LOAD = "r0 = *(u64 *)(r2 +0)"
CALL = "call bpf_skb_load_bytes#26"

# What was known of R2, the refused instruction, the reason (several lines are one message), the code.
MESSAGES: list[tuple[str, str, str, str]] = [
    ("map_value_or_null(id=1)", LOAD, "R2 invalid mem access 'map_value_or_null'", "E1101"),
    ("map_value_or_null(id=1)", LOAD, "R2 pointer arithmetic on map_value_or_null prohibited", "E1101"),
    ("sock_or_null(id=1)", CALL, "R2 type=sock_or_null expected=sock", "E1101"),
    ("ptr_or_null_task_struct()", CALL, "Possibly NULL pointer passed to trusted arg1", "E1101"),
    ("mem_or_null(id=1)", CALL, "arg#1 is expected to be non-NULL", "E1101"),
    ("pkt(r=14)", LOAD, "R2 invalid mem access 'scalar'", "E1102"),
    ("ringbuf_mem(ref_obj_id=2)", LOAD, "R2 invalid mem access 'inv'", "E1102"),
    ("scalar()", LOAD, "R2 invalid mem access 'scalar'", "E1102"),
    ("map_ptr()", LOAD, "R2 invalid mem access 'pkt_end'", "E1102"),
    ("pkt(r=0)", LOAD, "invalid access to packet, off=4 size=1, R2(id=0,off=4,r=0)", "E1103"),
    ("pkt(r=2)", LOAD, "invalid access to packet, off=4 size=1, R2(id=0,off=4,r=2)", "E1103"),
    ("pkt(id=3,r=2)", LOAD, "invalid access to packet, off=4 size=1, R2(id=3,off=4,r=2)", "E1103"),
    ("pkt(r=2)", LOAD, "R2 offset is outside of the packet", "E1103"),
    (
        "map_value(ks=4,vs=16,umax=31)",
        LOAD,
        "invalid access to map value, value_size=16 off=31 size=1\n"
        "R2 max value is outside of the allowed memory range",
        "E1104",
    ),
    (
        "map_value(ks=4,vs=16)",
        LOAD,
        "invalid access to map value, value_size=16 off=16 size=8\n"
        "R2 min value is outside of the array range",
        "E1104",
    ),
    (
        "mem(sz=8)",
        LOAD,
        "invalid access to memory, mem_size=8 off=8 size=8\nR2 min value is outside",
        "E1104",
    ),
    (
        "map_value()",
        LOAD,
        "R2 min value is negative, either use unsigned index or do a if (index >=0) check.",
        "E1104",
    ),
    ("map_value()", LOAD, "R2 min value is outside of the array range", "E1104"),
    (
        "map_value()",
        LOAD,
        "R2 unbounded memory access, make sure to bounds check any such access",
        "E1104",
    ),
    ("map_value()", LOAD, "R2 max value is outside of the array range", "E1104"),
    (
        "map_value()",
        "r2 += r3",
        "math between map_value pointer and register with unbounded min value is not allowed",
        "E1104",
    ),
    ("map_value()", "r2 += r3", "math between map_value pointer and 536870913 is not allowed", "E1104"),
    ("pkt()", "r2 += r3", "value -2147483648 makes pkt pointer be out of bounds", "E1104"),
    ("fp()", LOAD, "invalid unbounded variable-offset read from stack R2", "E1106"),
    ("fp()", LOAD, "R2 variable stack access prohibited for !root, var_off=(0x0; 0x3f) off=-16", "E1106"),
    ("fp-8", CALL, "invalid indirect access to stack R2 off=-8 size=16", "E1112"),
    ("fp-8", CALL, "invalid stack type R2 off=-8 access_size=16", "E1112"),
    ("fp-8", CALL, "invalid indirect read from stack R2 off -8+4 size 8", "E1105"),
    ("fp-8", LOAD, "invalid read from stack off -8+0 size 8", "E1105"),
    ("fp0", LOAD, "invalid read from stack R2 off=0 size=8", "E1106"),
    ("fp0", LOAD, "invalid stack off=-600 size=8", "E1106"),
    ("fp0", LOAD, "combined stack size of 3 calls is 544. Too large", "E1107"),
    ("fp0", LOAD, "misaligned stack access off (0x0; 0x0)+0+-12 size 8", "E1191"),
    ("fp0", LOAD, "attempt to corrupt spilled pointer on stack", "E1191"),
    ("fp0", LOAD, "corrupted spill memory", "E1191"),
    ("fp0", LOAD, "invalid size of register fill", "E1191"),
    ("pkt()", LOAD, "misaligned packet access off 2+(0x0; 0x0)+0+1 size 4", "E1131"),
    ("pkt_end()", "r2 += 8", "R2 pointer arithmetic on pkt_end prohibited", "E1108"),
    ("ctx()", "r2 |= 8", "R2 bitwise operator |= on pointer prohibited", "E1108"),
    ("ctx()", "r2 *= 8", "R2 pointer arithmetic with *= operator prohibited", "E1108"),
    ("ctx()", "w2 += 8", "R2 32-bit pointer arithmetic prohibited", "E1108"),
    ("ctx()", "r2 += r3", "R2 pointer += pointer prohibited", "E1108"),
    ("ctx()", "r2 += r3", "R2 tried to add from different maps, paths or scalars prohibited", "E1108"),
    ("ctx()", "r2 -= r3", "R2 tried to subtract pointer from scalar", "E1108"),
    ("fp0", "r2 -= 8", "R2 subtraction from stack pointer prohibited", "E1108"),
    ("ctx()", "w2 = w3", "R2 partial copy of pointer", "E1108"),
    ("ctx()", "if r2 < r3 goto pc+1", "R2 pointer comparison prohibited", "E1108"),
    ("fp-8", LOAD, "same insn cannot be used with different pointers", "E1109"),
    ("ctx()", LOAD, "variable ctx access var_off=(0x0; 0x4)", "E1110"),
    ("ctx(off=8)", LOAD, "dereference of modified ctx ptr R2 off=8 disallowed", "E1110"),
    ("ctx(off=-8)", LOAD, "negative offset ctx ptr R2 off=-8 disallowed", "E1110"),
    ("ctx()", LOAD, "invalid bpf_context access off=200 size=8", "E1110"),
    ("map_value()", LOAD, "write into map forbidden, value_size=8 off=0 size=8", "E1122"),
    ("rdonly_buf()", LOAD, "R2 cannot write into rdonly_buf", "E1122"),
    ("pkt()", LOAD, "BPF_ATOMIC stores into R2 pkt is not allowed", "E1130"),
    ("pkt()", LOAD, "BPF_XADD stores into R2 pkt is not allowed", "E1130"),
    ("pkt()", LOAD, "invalid atomic operand size", "E1130"),
    ("", "exit", "Unreleased reference id=2 alloc_insn=0", "E1116"),
    ("", "exit", "BPF_EXIT instruction would lead to reference leak", "E1116"),
    ("scalar()", CALL, "R2 type=inv expected=alloc_mem", "E1117"),
    ("ringbuf_mem(off=8)", CALL, "R2 must have zero offset when passed to release func", "E1117"),
    ("", CALL, "release kernel function bpf_task_release expects refcounted PTR_TO_BTF_ID", "E1117"),
    ("sock()", CALL, "R2 must be referenced when passed to release function", "E1117"),
    ("fp-16", CALL, "arg 1 is an unacquired reference", "E1117"),
    ("", CALL, "function calls are not allowed while holding a lock", "E1118"),
    ("", "exit", "BPF_EXIT instruction cannot be used inside bpf_local_irq_save-ed region", "E1118"),
    ("", "exit", "bpf_spin_unlock is missing", "E1118"),
    ("", "exit", "bpf_rcu_read_unlock is missing", "E1118"),
    ("", CALL, "unmatched rcu read unlock (kernel function bpf_rcu_read_unlock)", "E1118"),
    ("", CALL, "unmatched attempt to enable preemption (kernel function bpf_preempt_enable)", "E1118"),
    ("", CALL, "bpf_spin_unlock without taking a lock", "E1118"),
    ("", CALL, "bpf_res_spin_unlock of different lock", "E1118"),
    ("", CALL, "cannot restore irq state out of order, expected id=1 acquired at insn_idx=2", "E1118"),
    ("", CALL, "tracing progs cannot use bpf_spin_lock yet", "E1118"),
    ("map_value()", LOAD, "bpf_spin_lock cannot be accessed directly by load/store", "E1119"),
    ("map_value()", LOAD, "kptr cannot be accessed indirectly by helper", "E1119"),
    ("fp-8", CALL, "expected an initialized iter_num as arg #0", "E1120"),
    ("fp-8", CALL, "Dynptr has to be an uninitialized dynptr", "E1120"),
    ("fp-8", CALL, "cannot pass in dynptr at an offset=-8", "E1120"),
    ("fp-8", CALL, "cannot overwrite referenced dynptr", "E1120"),
    ("scalar(umax=7)", CALL, "R2 invalid zero-sized read: u64=[0,7]", "E1112"),
    (
        "scalar(smax=7)",
        CALL,
        "R2 min value is negative, either use unsigned or 'var &= const'",
        "E1112",
    ),
    (
        "scalar()",
        CALL,
        "R2 unbounded memory access, use 'var &= const' or 'if (var < const)'",
        "E1112",
    ),
    ("scalar()", CALL, "arg#0 arg#1 memory, len pair leads to invalid memory access", "E1112"),
    ("scalar()", CALL, "R1 and R2 memory, len pair leads to invalid memory access", "E1112"),
    ("scalar()", CALL, "R2 is not a known constant'", "E1111"),
    ("scalar()", CALL, "R2 must be a known constant", "E1111"),
    (
        "scalar()",
        "call pc+2",
        "R2 type=scalar expected=fp\nCaller passes invalid args into func#1 ('look')",
        "E1128",
    ),
    ("", "call pc+2", "Global function look() doesn't return scalar. Only those are supported.", "E1128"),
    ("", "call pc+2", "Global function look() with 6 > 5 args. Buggy compiler.", "E1128"),
    ("", "call pc+2", "arg#0 reference type('FWD x') size cannot be determined: -22", "E1128"),
    ("scalar()", CALL, "R2 type=inv expected=fp, pkt, pkt_meta, map_key, map_value", "E1111"),
    (
        "scalar()",
        CALL,
        "arg#1 pointer type STRUCT task_struct must point to scalar, or struct with scalar",
        "E1111",
    ),
    ("ptr_task_struct()", CALL, "R2 must be referenced or trusted", "E1111"),
    ("ptr_task_struct()", CALL, "R2 must be a rcu pointer", "E1111"),
    ("scalar()", CALL, "arg#1 expected pointer to stack or dynptr_ptr", "E1111"),
    ("ptr_task_struct()", CALL, "R2 is not a scalar", "E1111"),
    ("scalar()", CALL, "reg type unsupported for arg#1 function bpf_task_acquire#1234", "E1111"),
    ("ptr_task_struct()", LOAD, "access beyond struct task_struct at off 32000 size 8", "E1121"),
    ("ptr_task_struct()", LOAD, "access beyond the end of member comm (mend:16) in struct x", "E1121"),
    ("ptr_task_struct()", LOAD, "only read is supported", "E1121"),
    (
        "ptr_task_struct()",
        LOAD,
        "R2 is ptr_task_struct invalid negative access: off=-8",
        "E1121",
    ),
    ("", CALL, "cannot pass map_type 2 into func bpf_skb_load_bytes#26", "E1113"),
    ("", CALL, "expected prog array map for tail call", "E1113"),
    ("", CALL, "program of this type cannot use helper bpf_skb_load_bytes#26", "E1113"),
    ("", CALL, "unknown func bpf_skb_load_bytes#26", "E1113"),
    ("", CALL, "calling kernel function bpf_task_acquire is not allowed", "E1113"),
    ("", CALL, "helper call might sleep in a non-sleepable prog", "E1113"),
    ("", CALL, "sleepable helper bpf_copy_from_user#148 in rcu_read_lock region", "E1113"),
    ("", CALL, "kernel func bpf_copy_from_user_str is sleepable within non-preemptible region", "E1113"),
    (
        "",
        "",
        "Only fentry/fexit/fmod_ret, lsm, iter, uprobe, and struct_ops programs can be sleepable",
        "E1113",
    ),
    ("", "", "Syscall programs can only be sleepable", "E1113"),
    ("", CALL, "tail_call is not allowed in subprogs without BTF", "E1113"),
    ("", LOAD, "BPF_LD_[ABS|IND] instructions not allowed for this program type", "E1113"),
    ("", LOAD, "BPF_LD_[ABS|IND] cannot be mixed with socket references", "E1113"),
    ("", CALL, "invalid func unknown#195896080", "E1114"),
    ("", CALL, "invalid func unknown#2001000003", "E1114"),
    ("", CALL, "invalid func unknown#300", "E1114"),
    ("", "", "ldimm64 failed to find the address for kernel symbol 'runqueues'.", "E1114"),
    ("", CALL, "cannot call GPL-restricted function from non-GPL compatible program", "E1115"),
    ("", CALL, "cannot call GPL only function from proprietary program", "E1115"),
    ("", CALL, "cannot call kernel function from non-GPL compatible program", "E1115"),
    ("fp0", "exit", "R0 leaks addr as return value", "E1123"),
    ("fp0", LOAD, "R2 leaks addr into mem", "E1123"),
    ("fp0", LOAD, "leaking pointer from stack off -8", "E1123"),
    (
        "",
        "exit",
        "At program exit the register R0 has value (0x7; 0x0) should have been in (0x0; 0x1)",
        "E1124",
    ),
    ("", "exit", "At program exit the register R0 is not a known value (ctx)", "E1124"),
    (
        "",
        "exit",
        "At callback return the register R0 has smin=5 smax=5 should have been in [0, 1]",
        "E1124",
    ),
    ("", "exit", "In callback the register R0 has unknown scalar value should have been in", "E1124"),
    ("", LOAD, "infinite loop detected at insn 0\ncur state: R0=1 R10=fp0\nold state: R0=1 R10=fp0", "E1125"),
    ("", "", "back-edge from insn 4 to 1", "E1125"),
    ("", LOAD, "BPF program is too large. Processed 1000001 insn", "E1126"),
    ("", LOAD, "The sequence of 8193 jumps is too complex.", "E1126"),
    ("", "call pc+2", "the call stack of 9 frames is too deep !", "E1127"),
    ("", "", "recursive call from look() to look()", "E1127"),
    ("", "", "do_unlinkat is not sleepable", "E1129"),
    ("", "", "do_unlinkat() is not modifiable", "E1129"),
    ("", "", "Tracing programs must provide btf_id", "E1129"),
    ("", "", "attach_btf_id 17 is not a typedef", "E1129"),
    ("", "", "kernel btf_id 12 is not a function", "E1129"),
    ("", "", "failed to find BTF for kernel function", "E1129"),
    ("", "", "attach to unsupported member cong_avoid of struct tcp_congestion_ops", "E1129"),
    ("", LOAD, "missing btf func_info", "E1190"),
    ("", LOAD, "callback function not static", "E1190"),
    ("", "", "exception callback type id not found in func_info", "E1190"),
    ("", "", "number of funcs in func_info doesn't match number of subprogs", "E1190"),
    ("", "", "func_info BTF section doesn't match subprog layout in BPF program", "E1190"),
    ("", "", "nonzero insn_off 3 for the first func info record", "E1190"),
    ("", "", "invalid type id 7 in func info", "E1190"),
    ("", CALL, "map 'timers' has to have BTF in order to use bpf_timer", "E1190"),
    ("", "", "Invalid line_info[3].insn_off:9 (prev_offset:9 prog->len:10)", "E1190"),
    ("", "", "Invalid insn code at line_info[3].insn_off", "E1190"),
    ("", "", "missing bpf_line_info for func#2", "E1190"),
    ("", "", "[4] STRUCT a-b size=8 vlen=1 Invalid name", "E1190"),
    ("", "", "[4] INT x size=1 nr_bits=16 nr_bits exceeds type_size", "E1190"),
    ("", "", "Invalid member bits_offset", "E1190"),
    ("", "", "Member exceeds struct_size", "E1190"),
    ("", "", "Type tags don't precede modifiers", "E1190"),
    ("", "", "Loop detected", "E1190"),
    ("", "", "Invalid arg#2", "E1190"),
    ("", "", "Invalid linkage", "E1190"),
    ("", "", "No type found", "E1190"),
    ("", "exit", "R0 !read_ok", "E1191"),
    ("", LOAD, "R2 !read_ok", "E1191"),
    ("", "", "unreachable insn 7", "E1191"),
    ("", "", "jump out of range from insn 1 to 102", "E1191"),
    ("", "", "jump into the middle of ldimm64 insn 4", "E1191"),
    ("", "", "last insn is not an exit or jmp", "E1191"),
    ("", "", "invalid bpf_ld_imm64 insn", "E1191"),
    ("", "", "unknown opcode e5", "E1191"),
    ("", "", "BPF_CALL uses reserved fields", "E1191"),
    ("", LOAD, "R13 is invalid", "E1191"),
    ("", LOAD, "invalid shift 64", "E1191"),
    ("", LOAD, "div by zero", "E1191"),
    ("", LOAD, "frame pointer is read only", "E1191"),
    ("", "", "fd 7 is not pointing to valid bpf_map", "E1191"),
    ("", "", "fd_idx without fd_array is invalid", "E1191"),
    ("", "", "total number of maps per program has reached the limit of 64", "E1191"),
    ("", "", "invalid access to map value pointer, value_size=16 off=100", "E1191"),
    ("", LOAD, "something that no kernel says yet", "E1100"),
]


def tell(known: str, instruction: str, reason: str, source: Source | None = None) -> Diagnostic:
    """The diagnostic of a log with one instruction."""
    state = f"0: R1=ctx() {f'R2={known} ' if known else ''}R10=fp0\n"
    lines = f"{state}0: (79) {instruction}\n" if instruction else ""
    return explain(f"func#0 @0\n{lines}{reason}\nprocessed 1 insns (limit 1000000)", source or Source("prog"))


@pytest.mark.parametrize("known, instruction, reason, code", MESSAGES, ids=lambda text: text[:50] or "-")
def test_message(known: str, instruction: str, reason: str, code: str) -> None:
    found = tell(known, instruction, reason)
    assert found.code.name == code, found
    assert "?" not in found.message + found.label + "".join(label.text for label in found.labels)
    assert f"the kernel said: {reason.splitlines()[0]}" in found.notes


def test_every_wording_is_exercised(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each row is the one that is chosen for some message, by each of its wordings."""
    chosen: set[tuple[int, str]] = set()

    def watch(reason: str, fits: Callable[[Rule, re.Match[str]], bool]) -> tuple[Rule, re.Match[str]] | None:
        found = find(reason, fits)
        if found is not None:
            chosen.add((id(found[0]), found[1].re.pattern))
        return found

    monkeypatch.setattr("pyebpf.runtime.rejection.explain.find", watch)
    for known, instruction, reason, _ in MESSAGES:
        tell(known, instruction, reason)
    every = {(id(rule), words): (rule.code.name, words) for rule in RULES for words in rule.says}
    assert sorted(every[key] for key in every.keys() - chosen) == []


PYTHON = Source("prog", "XDP", (LineInfo(0, "nowhere.py", 3, 5, "return value.count"),), ((0, "prog"),))


def test_no_mistake_of_the_compiler_is_blamed_on_the_user() -> None:
    for known, instruction, reason, _ in MESSAGES:
        found = tell(known, instruction, reason, PYTHON)
        if found.code in (Code.E1190, Code.E1191):
            assert any("a mistake of pyebpf, not of your program" in text for text in found.help), found


def test_codes_of_the_kernel_only() -> None:
    assert {rule.code.name[:3] for rule in RULES} == {"E11"}
    ours = {code for code in Code if code.name.startswith("E11")}
    assert ours - {rule.code for rule in RULES} == {Code.E1100}


def test_each_row_says_what_to_do() -> None:
    """A row without help means that it is not the user's to do anything."""
    assert all(rule.help or rule.blame is Blame.COMPILER for rule in RULES)


def test_what_the_kernel_lacks_is_named() -> None:
    lacking = Source("prog", missing=((0, "there is no `struct s` on Linux 6.1"), (5, "something else")))
    assert (
        tell("", CALL, "invalid func unknown#195896080", lacking).message
        == "there is no `struct s` on Linux 6.1"
    )
    without = tell("", CALL, "invalid func unknown#195896080").message
    assert without == "the program uses something of the kernel that this kernel does not have"
