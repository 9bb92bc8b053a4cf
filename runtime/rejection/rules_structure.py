"""Rows about the program as a whole: loops, size, calls, what it attaches to; and mistakes of the compiler."""

from __future__ import annotations

from pyebpf.codes import Code
from pyebpf.hints import TYPE_CHECKING
from pyebpf.runtime.rejection.rules import Blame, Follow, Rule

if TYPE_CHECKING:
    from typing import Final


_LESS: Final = (
    "`bpf.loop(n, body)` verifies the body of a loop once, and not in every round",
    "`@bpf.global_function` on a part of the program has it verified once, on its own",
)

SHAPE: Final = (
    Rule(
        Code.E1125,
        (r"infinite loop detected at insn (?P<slot>\d+)", r"back-edge from insn (?P<slot>\d+) to \d+"),
        "a loop in which nothing changes that its end depends on",
        ("count towards a bound: `for i in range(n)`, or use `bpf.loop(n, body)`",),
        label="comes here again with the same values",
        follow=Follow.NOTHING,
    ),
    Rule(
        Code.E1126,
        (r"BPF program is too large\. Processed (?P<walked>\d+) insn",),
        "the verifier gave up after {walked} instructions: too many ways through the program",
        _LESS,
        label="{share}",
        blame=Blame.PROGRAM,
        follow=Follow.NOTHING,
    ),
    Rule(
        Code.E1126,
        (r"[Tt]he sequence of (?P<jumps>\d+) jumps is too complex",),
        "the verifier gave up: {jumps} branches were waiting to be followed",
        (*_LESS, "fewer `if` in a loop, or fewer rounds, leave fewer branches behind"),
        label="{share}",
        blame=Blame.PROGRAM,
        follow=Follow.NOTHING,
    ),
    Rule(
        Code.E1127,
        (r"the call stack of (?P<frames>\d+) frames is too deep", r"recursive call from \w+\(\) to \w+\(\)"),
        "calls are nested too deep, or a function calls itself",
        ("turn recursion into a loop; `@bpf.inline` on a function saves its frame",),
        label="one call too many",
        follow=Follow.NOTHING,
    ),
    Rule(
        Code.E1129,
        (r"(?P<function>\w+) is not sleepable",),
        "programs at `{function}` may not sleep",
        (
            "leave `sleepable=True` out",
            "programs may sleep at the security hooks that may, and at functions that errors can be injected into, such as "
            "those of system calls, where the kernel was built with CONFIG_FUNCTION_ERROR_INJECTION",
        ),
        blame=Blame.PROGRAM,
        follow=Follow.NOTHING,
    ),
    Rule(
        Code.E1129,
        (r"(?P<function>\w+)\(\) is not modifiable",),
        "the result of `{function}` may not be decided by programs",
        (
            "`fmod_ret` is for the security hooks (`security_…`) and functions that errors can be injected into",
        ),
        blame=Blame.PROGRAM,
        follow=Follow.NOTHING,
    ),
    Rule(
        Code.E1129,
        (
            r"Tracing programs must provide btf_id",
            r"attach_btf_id \d+ is not",
            r"(?:kernel )?btf_id \d+ is not a function",
            r"failed to find BTF for kernel function",
            r"attach to (?:unsupported|invalid) member",
        ),
        "what the program is to be attached to does not exist on this kernel, or cannot be attached to",
        ("`bpftool btf dump file /sys/kernel/btf/vmlinux` shows what the running kernel has",),
        blame=Blame.PROGRAM,
        follow=Follow.NOTHING,
    ),
)

DEBUG_INFO: Final = (
    Rule(
        Code.E1190,
        (
            r"missing btf func_info",
            r"callback function not static",
            r"exception callback type id not found in func_info",
            r"number of funcs in func_info doesn't match number of subprogs",
            r"func_info BTF section doesn't match subprog layout",
            r"nonzero insn_off \d+ for the first func info record",
            r"invalid type id \d+ in func info",
            r"has to have BTF in order to use bpf_",
        ),
        "the types of the functions or maps are missing or wrong",
        blame=Blame.COMPILER,
        follow=Follow.NOTHING,
    ),
    Rule(
        Code.E1190,
        (
            r"Invalid line_info\[\d+\]",
            r"Invalid insn code at line_info",
            r"missing bpf_line_info for func#\d+",
        ),
        "the line information is wrong",
        blame=Blame.COMPILER,
        follow=Follow.NOTHING,
    ),
    Rule(
        Code.E1190,
        (
            r"Invalid name",
            r"nr_bits exceeds type_size",
            r"Invalid member bits_offset",
            r"Member exceeds struct_size",
            r"Type tags don't precede modifiers",
            r"Loop detected",
            r"Invalid arg#\d+",
            r"Invalid linkage",
            r"No type found",
        ),
        "the type information is wrong",
        blame=Blame.COMPILER,
        follow=Follow.NOTHING,
    ),
)

MALFORMED: Final = (
    Rule(
        Code.E1191,
        (r"R0 !read_ok",),
        "a function may end without a result",
        label="no result on the way to here",
        blame=Blame.COMPILER,
        follow=Follow.NOTHING,
    ),
    Rule(
        Code.E1191,
        (r"R\d+ !read_ok",),
        "a value is used that nothing was assigned to",
        label="without a value on the way to here",
        blame=Blame.COMPILER,
        follow=Follow.NOTHING,
    ),
    Rule(
        Code.E1191,
        (r"unreachable insn (?P<slot>\d+)",),
        "there is code that nothing reaches",
        label="never reached",
        blame=Blame.COMPILER,
        follow=Follow.NOTHING,
    ),
    Rule(
        Code.E1191,
        (
            r"jump out of range from insn (?P<slot>\d+) to -?\d+",
            r"jump into the middle of ldimm64 insn (?P<slot>\d+)",
            r"last insn is not an exit or jmp",
            r"invalid bpf_ld_imm64 insn",
        ),
        "a jump or the end of the code is in the wrong place",
        blame=Blame.COMPILER,
        follow=Follow.NOTHING,
    ),
    Rule(
        Code.E1191,
        (
            r"unknown opcode [0-9a-f]+",
            r"BPF_\w+ uses reserved fields",
            r"R\d+ is invalid",
            r"invalid shift -?\d+",
            r"div by zero",
            r"frame pointer is read only",
        ),
        "an instruction is malformed, or unknown to this kernel",
        label="this instruction",
        blame=Blame.COMPILER,
        follow=Follow.NOTHING,
    ),
    Rule(
        Code.E1191,
        (
            r"fd -?\d+ is not pointing to valid bpf_map",
            r"fd_idx without fd_array is invalid",
            r"total number of maps per program has reached the limit",
            r"invalid access to map value pointer",
        ),
        "a reference to a map is wrong",
        blame=Blame.COMPILER,
        follow=Follow.NOTHING,
    ),
)

ROWS: Final = (*SHAPE, *DEBUG_INFO, *MALFORMED)
