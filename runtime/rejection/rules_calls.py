"""Rows about calls: arguments, who may call what, results; and what must be given back or left."""

from __future__ import annotations

from pyebpf.codes import Code
from pyebpf.hints import TYPE_CHECKING
from pyebpf.runtime.rejection.rules import Blame, Follow, Rule
from pyebpf.runtime.rejection.trace import gives_back

if TYPE_CHECKING:
    from typing import Final


_CUT_LENGTH: Final = ("bound the length right before the call: `if not 0 < n <= limit: return …`",)
_NOT_ENOUGH: Final = "this comparison bounds it, but not enough"
_WITH_RESERVE: Final = ("`with events.reserve(T) as record:` submits it once, on every way",)

HELD: Final = (
    Rule(
        Code.E1116,
        (r"Unreleased reference id=\d+ alloc_insn=(?P<acquired>\d+)",),
        "what is reserved or acquired is not given back on every way",
        ("submit, discard or release it before this place, or use `with events.reserve(T) as record:`",),
        label="still held at this end",
        acquired="reserved or acquired here",
        follow=Follow.NOTHING,
    ),
    Rule(
        Code.E1116,
        (r"would lead to reference leak",),
        "something that was acquired is not given back on every way",
        ("release it before this place",),
        label="still held here",
        follow=Follow.NOTHING,
    ),
    Rule(
        Code.E1117,
        (r"R(?P<reg>\d+) type=(?:scalar|inv) expected=(?:ringbuf_mem|alloc_mem)\b",),
        "a record is submitted or discarded that is not held any more",
        _WITH_RESERVE,
        label="given back already, or never reserved",
        origin="it came from here",
        call="it was given back here",
        calls=gives_back,
    ),
    Rule(
        Code.E1117,
        (
            r"R(?P<reg>\d+) must have zero offset when passed to release func",
            r"release kernel function \w+ expects refcounted",
            r"R(?P<reg>\d+) must be referenced when passed to release function",
            r"arg \d+ is an unacquired reference",
        ),
        "what is given back is not what was acquired",
        ("give back the very reference that the reservation or acquisition returned", *_WITH_RESERVE),
        label="moved, or not acquired by this program",
        origin="it was made here",
    ),
    Rule(
        Code.E1118,
        (r"function calls are not allowed while holding a lock",),
        "a call while a lock is held",
        ("call before the lock is taken or after it is left",),
        label="nothing may be called here",
        follow=Follow.NOTHING,
    ),
    Rule(
        Code.E1118,
        (
            r"cannot be used inside bpf_\w+-ed region",
            r"bpf_(?:res_)?spin_unlock is missing",
            r"bpf_rcu_read_unlock is missing",
        ),
        "a lock or section is left open at the end of a way",
        ("leave it on every way, also where something fails",),
        label="still open here",
        follow=Follow.NOTHING,
    ),
    Rule(
        Code.E1118,
        (
            r"unmatched rcu read unlock",
            r"unmatched attempt to enable preemption",
            r"bpf_(?:res_)?spin_unlock without taking a lock",
            r"bpf_(?:res_)?spin_unlock of different lock",
            r"cannot restore irq state out of order",
        ),
        "a lock or section is left that was not entered",
        ("enter it first, on every way to this place, and leave it once",),
        label="not entered",
        follow=Follow.NOTHING,
    ),
    Rule(
        Code.E1118,
        (r"(?:tracing progs|socket filter progs) cannot use bpf_\w+ yet",),
        "programs of this type cannot use locks and timers",
        ("`+=` and its relatives on values of maps are atomic",),
        follow=Follow.NOTHING,
    ),
    Rule(
        Code.E1119,
        (r"(?:bpf_)?(?P<what>\w+) cannot be accessed (?:directly|indirectly) by",),
        "the {what} inside a value of a map is read or written",
        ("change the other fields one by one; its own helpers change this one",),
        label="only helpers may touch it",
    ),
    Rule(
        Code.E1120,
        (
            r"[Ee]xpected an (?:un)?initialized (?:iter_\w+|dynptr)",
            r"[Dd]ynptr has to be an uninitialized dynptr",
            r"cannot pass in dynptr at an offset",
            r"cannot overwrite referenced dynptr",
        ),
        "an iterator or dynptr is used before it is made, or after it is destroyed",
        ("make it once, use it, destroy it; `for i in range(n)` does that for numbers",),
        label="in the wrong state here",
        follow=Follow.NOTHING,
    ),
)

ARGUMENTS: Final = (
    Rule(
        Code.E1112,
        (r"R(?P<reg>\d+) invalid zero-sized read",),
        "a length that is given to {helper} may be 0",
        _CUT_LENGTH,
        label="{range}",
        origin="the length came from here",
        test="this comparison does not exclude 0",
    ),
    Rule(
        Code.E1112,
        (r"R(?P<reg>\d+) min value is negative, either use unsigned or 'var &= const'",),
        "a length that is given to {helper} may be negative",
        (*_CUT_LENGTH, "an unsigned number needs an upper bound only"),
        label="{range}",
        origin="the length came from here",
        test=_NOT_ENOUGH,
    ),
    Rule(
        Code.E1112,
        (r"R(?P<reg>\d+) unbounded memory access, use 'var &= const'",),
        "a length that is given to {helper} has no upper bound",
        _CUT_LENGTH,
        label="{range}",
        origin="the length came from here",
        test=_NOT_ENOUGH,
    ),
    Rule(
        Code.E1112,
        (
            r"arg#\d+ arg#(?P<argument>\d+) memory, len pair leads to invalid memory access",
            r"R\d+ and R(?P<reg>\d+) memory, len pair leads to invalid memory access",
        ),
        "a length that is given to {helper} does not fit the memory before it",
        ("pass the size of the buffer: `bpf.sizeof(buffer)`",),
        label="{range}",
        origin="the length came from here",
    ),
    Rule(
        Code.E1111,
        (r"R(?P<reg>\d+) is not a known constant", r"R(?P<reg>\d+) must be a known constant"),
        "an argument of {helper} must be a constant",
        ("write the number itself, or a name that stands for one",),
        label="{range}",
        origin="it came from here",
    ),
    Rule(
        Code.E1128,
        (r"(?:R(?P<reg>\d+) .*\n)?Caller passes invalid args into func#\d+(?: \('(?P<function>\w+)'\))?",),
        "a global function is called with an argument that its declaration does not allow",
        ("pass what the annotations of its parameters say",),
        label="the arguments do not fit",
        origin="one of them came from here",
    ),
    Rule(
        Code.E1128,
        (
            r"Global function \w+\(\) doesn't return scalar",
            r"Global function \w+\(\) with \d+ > \d+ args",
            r"arg#\d+ reference type\('[^']*'\) size cannot be determined",
        ),
        "a global function is declared in a way that the kernel cannot verify on its own",
        ("at most five parameters of integer types or references to structs, and a number as the result",),
        follow=Follow.NOTHING,
    ),
    Rule(
        Code.E1111,
        (r"R(?P<reg>\d+) type=(?P<kind>\w+) expected=(?P<expected>[\w, ]+)",),
        "{helper} wants {expected_words}, and gets {value}",
        ("`help(bpf.NAME)` of a helper tells what it takes",),
        label="gets {value}",
        origin="it came from here",
    ),
    Rule(
        Code.E1111,
        (
            r"arg#(?P<argument>\d+) pointer type \w+ .* must point to",
            r"R(?P<reg>\d+) must be referenced or trusted",
            r"R(?P<reg>\d+) must be a rcu pointer",
            r"arg#(?P<argument>\d+) expected pointer to",
            r"R(?P<reg>\d+) is not a scalar",
            r"reg type unsupported for arg#(?P<argument>\d+) function",
        ),
        "{helper} gets an argument of a kind that it does not take",
        (
            "pass an object that a kernel function acquired, or that the context gives; what was found through fields is "
            "not enough",
        ),
        label="gets {value}",
        origin="it came from here",
    ),
    Rule(
        Code.E1121,
        (r"access beyond struct \w+ at off \d+ size \d+", r"access beyond the end of member \w+"),
        "a kernel object is accessed beyond its fields",
        ("use the fields that the kernel's types have",),
        label="no such field",
        origin="it came from here",
    ),
    Rule(
        Code.E1121,
        (r"only read is supported", r"R(?P<reg>\d+) is ptr_\w+ invalid negative access"),
        "a field of a kernel object is written, or read in a way that is not allowed",
        ("fields of kernel objects can be read; their helpers change them",),
        label="not allowed",
        origin="it came from here",
    ),
)

PERMITTED: Final = (
    Rule(
        Code.E1113,
        (r"cannot pass map_type \d+ into func \w+#\d+", r"expected prog array map for tail call"),
        "{helper} does not work on maps of this type",
        ("docs/language.md lists what each type of map offers",),
        label="another type of map is needed",
        follow=Follow.NOTHING,
    ),
    Rule(
        Code.E1113,
        (
            r"program of this type cannot use helper (?:bpf_)?(?P<function>\w+)#\d+",
            r"unknown func (?:bpf_)?(?P<function>\w+)#\d+",
        ),
        "programs of this type ({program_kind}) may not call {helper}",
        (
            "each program type has its helpers, and the running kernel decides which; `pyebpf doctor` tells more",
        ),
        label="not for this program type",
        blame=Blame.PROGRAM,
        follow=Follow.NOTHING,
    ),
    Rule(
        Code.E1113,
        (r"calling kernel function (?P<function>\w+) is not allowed",),
        "programs of this type ({program_kind}) may not call the kernel function {helper}",
        ("each program type has its kernel functions, and the running kernel decides which",),
        label="not for this program type",
        blame=Blame.PROGRAM,
        follow=Follow.NOTHING,
    ),
    Rule(
        Code.E1113,
        (
            r"helper call might sleep in a non-sleepable prog",
            r"sleepable helper \w+#\d+ (?:in|within)",
            r"kernel func(?:tion)? \w+ is sleepable",
            r"programs can be sleepable",
            r"programs can only be sleepable",
        ),
        "a call that may wait, in a program or place where nothing may",
        ("call it from a program that may sleep, outside of locks and sections",),
        label="may wait here",
        follow=Follow.NOTHING,
    ),
    Rule(
        Code.E1113,
        (
            r"tail_call is not allowed in subprogs",
            r"BPF_LD_\[ABS\|IND\] instructions not allowed for this program type",
            r"BPF_LD_\[ABS\|IND\] cannot be mixed with",
        ),
        "something that works only in the program's main function, or only for other program types",
        ("use it in the program itself",),
        label="not here",
        follow=Follow.NOTHING,
    ),
    Rule(
        Code.E1114,
        (r"invalid func unknown#(?:195896080|200[12]\d{6})",),
        "{missing}",
        ("ask first whether it exists, or build for this kernel",),
        label="not on this kernel",
        blame=Blame.PROGRAM,
        follow=Follow.NOTHING,
    ),
    Rule(
        Code.E1114,
        (r"ldimm64 failed to find the address for kernel symbol '(?P<function>[\w.]+)'",),
        "this kernel does not tell where its variable `{function}` is",
        ("kernels that are built with CONFIG_KALLSYMS_ALL tell",),
        blame=Blame.PROGRAM,
        follow=Follow.NOTHING,
        whole=True,
    ),
    Rule(
        Code.E1114,
        (r"invalid func \w+#(?P<number>-?\d+)",),
        "helper number {number} does not exist on this kernel",
        ("`pyebpf check --kernel X.Y` tells which helpers that kernel lacks",),
        label="unknown to this kernel",
        blame=Blame.PROGRAM,
        follow=Follow.NOTHING,
    ),
    Rule(
        Code.E1115,
        (
            r"cannot call GPL-restricted function from non-GPL compatible program",
            r"cannot call GPL only function from proprietary program",
            r"cannot call kernel function from non-GPL compatible program",
        ),
        "{helper} is for programs with a GPL-compatible licence",
        ('state the licence, if it is yours: `bpf.license("GPL")`, or another that the kernel knows',),
        label="needs the licence",
        follow=Follow.NOTHING,
    ),
    Rule(
        Code.E1123,
        (
            r"R(?P<reg>\d+) leaks addr as return value",
            r"R(?P<reg>\d+) leaks addr into \w+",
            r"leaking pointer from stack",
        ),
        "an address would leave the kernel",
        ("return and store numbers only; with CAP_PERFMON the kernel allows it",),
        label="this is an address",
        origin="it came from here",
        blame=Blame.PROGRAM,
    ),
)

RESULTS: Final = (
    Rule(
        Code.E1124,
        (
            r"At program exit the register R(?P<reg>0) has .*should have been in",
            r"At program exit the register R(?P<reg>0) is not a known value",
        ),
        "this {program_kind} program may return {result}, which is not allowed",
        ("return one of the constants that the program type has",),
        label="{result}",
        origin="the result was made here",
    ),
    Rule(
        Code.E1124,
        (
            r"At (?:callback|async callback) return the register R0 has .*should have been in",
            r"In callback the register R0 has .*should have been in",
        ),
        "this callback may return {result}, which is not allowed",
        ("return 0 to go on and 1 to stop",),
        label="{result}",
        origin="the result was made here",
    ),
)

ROWS: Final = (*ARGUMENTS, *PERMITTED, *RESULTS)
