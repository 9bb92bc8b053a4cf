"""Calls that are made from a helper's row alone are accepted by the running kernel.

For every helper that a packet program may call, the arguments are put into registers as the row describes
them. That the verifier accepts the call shows that the row demands enough; that it demands no more than the
verifier does is shown by breaking the arguments one by one.
"""

from __future__ import annotations

import platform
import struct
from collections.abc import Callable, Iterator

import pytest

from pyebpf.uapi.constants import BPF_F_NO_PREALLOC, BPF_F_RDONLY_PROG, MapType, ProgType
from pyebpf.uapi.helpers import (
    SIZES,
    ArgKind,
    Availability,
    ConditionKind,
    Helper,
    HelperArg,
    ReturnKind,
    helper_by_name,
    helper_names,
)

Load = Callable[..., str | None]
CreateMap = Callable[..., int]

PACKET_PROGRAMS = (
    ProgType.SOCKET_FILTER,
    ProgType.SCHED_CLS,
    ProgType.SCHED_ACT,
    ProgType.XDP,
    ProgType.SK_SKB,
)
RUNNING = (
    tuple(int(part) for part in platform.release().split(".")[:2]) if platform.system() == "Linux" else (0, 0)
)

# (key, value, entries, flags) that create a map of the type; those that need BTF are not here.
MAPS = {
    MapType.HASH: (4, 8, 1, 0),
    MapType.ARRAY: (4, 8, 1, 0),
    MapType.PROG_ARRAY: (4, 4, 1, 0),
    MapType.PERF_EVENT_ARRAY: (4, 4, 1, 0),
    MapType.PERCPU_HASH: (4, 8, 1, 0),
    MapType.PERCPU_ARRAY: (4, 8, 1, 0),
    MapType.STACK_TRACE: (4, 8, 1, 0),
    MapType.CGROUP_ARRAY: (4, 4, 1, 0),
    MapType.LRU_HASH: (4, 8, 1, 0),
    MapType.LRU_PERCPU_HASH: (4, 8, 1, 0),
    MapType.LPM_TRIE: (8, 8, 1, BPF_F_NO_PREALLOC),
    MapType.DEVMAP: (4, 4, 1, 0),
    MapType.DEVMAP_HASH: (4, 4, 1, 0),
    MapType.CPUMAP: (4, 4, 1, 0),
    MapType.XSKMAP: (4, 4, 1, 0),
    MapType.SOCKMAP: (4, 4, 1, 0),
    MapType.SOCKHASH: (4, 4, 1, 0),
    MapType.QUEUE: (0, 8, 1, 0),
    MapType.STACK: (0, 8, 1, 0),
    MapType.BLOOM_FILTER: (0, 8, 1, 0),
    MapType.RINGBUF: (0, 0, 4096, 0),
}
# Arguments that this test cannot make: callbacks and kernel variables need BTF, the others maps with BTF.
OUT_OF_REACH = {
    ArgKind.FUNC,
    ArgKind.PERCPU_BTF_ID,
    ArgKind.SPIN_LOCK,
    ArgKind.TIMER,
    ArgKind.KPTR,
    ArgKind.DYNPTR,
    ArgKind.UNINIT_DYNPTR,
    ArgKind.SOCKET,
}
SOCKETS = {ArgKind.BTF_ID_SOCK_COMMON, ArgKind.SOCK_COMMON}
INTEGERS = SIZES | {ArgKind.SCALAR, ArgKind.ALLOC_SIZE}
STACK = -128  # zeroed bytes from here to the frame pointer


def insn(code: int, dst: int = 0, src: int = 0, off: int = 0, imm: int = 0) -> bytes:
    return struct.pack("=BBhi", code, src << 4 | dst, off, imm)


def mov(dst: int, imm: int) -> bytes:
    return insn(0xB7, dst, imm=imm)


def copy(dst: int, src: int) -> bytes:
    return insn(0xBF, dst, src)


def call(name: str) -> bytes:
    helper = helper_by_name(name)
    assert helper is not None
    return insn(0x85, imm=helper.id)


def wide(dst: int, src: int, fd: int) -> bytes:
    return insn(0x18, dst, src, imm=fd) + insn(0)


def frame(dst: int) -> bytes:
    return copy(dst, 10) + insn(0x07, dst, imm=STACK)


EXIT = mov(0, 0) + insn(0x95)
START = copy(6, 1) + b"".join(insn(0x7A, 10, 0, offset) for offset in range(STACK, 0, 8))


def unless_null(register: int) -> bytes:
    return insn(0x55, register, 0, 2) + EXIT


class Maker:
    """Makes programs of one type that call helpers."""

    def __init__(self, prog_type: ProgType, create_map: CreateMap) -> None:
        self.prog_type = prog_type
        self.create_map = create_map
        self.maps: dict[MapType, int] = {}

    def map(self, map_type: MapType) -> int:
        if map_type not in self.maps:
            self.maps[map_type] = self.create_map(map_type, *MAPS[map_type])
        return self.maps[map_type]

    def string(self) -> int:
        if MapType.UNSPEC not in self.maps:
            self.maps[MapType.UNSPEC] = self.create_map(
                MapType.ARRAY, 4, 8, 1, int(BPF_F_RDONLY_PROG), b"text"
            )
        return self.maps[MapType.UNSPEC]

    def lookup(self) -> bytes:
        """Look a socket up into r7."""
        arguments = copy(1, 6) + frame(2) + mov(3, 12) + mov(4, 0) + mov(5, 0)
        return arguments + call("skc_lookup_tcp") + copy(7, 0) + unless_null(7)

    def before(self, args: tuple[HelperArg, ...]) -> bytes:
        """Fetch what arguments need: a socket into r7, a task into r8, a record into r9."""
        code = START
        kinds = {arg.kind for arg in args}
        if kinds & SOCKETS:
            if self.prog_type is ProgType.XDP or any(arg.releases for arg in args):
                code += self.lookup()
            else:
                code += insn(0x79, 7, 6, 168) + unless_null(7)
        if ArgKind.BTF_ID in kinds:
            code += call("get_current_task_btf") + copy(8, 0)
        if ArgKind.RINGBUF_MEM in kinds:
            code += wide(1, 1, self.map(MapType.RINGBUF)) + mov(2, 8) + mov(3, 0)
            code += call("ringbuf_reserve") + copy(9, 0) + unless_null(9)
        return code

    def argument(self, register: int, arg: HelperArg, map_type: MapType | None) -> bytes:
        match arg.kind:
            case ArgKind.CTX:
                return copy(register, 6)
            case ArgKind.SCALAR | ArgKind.STACK:
                return mov(register, 0)
            case ArgKind.CONST_SIZE | ArgKind.CONST_SIZE_OR_ZERO | ArgKind.ALLOC_SIZE:
                return mov(register, 8)
            case ArgKind.MAP:
                assert map_type is not None
                return wide(register, 1, self.map(map_type))
            case ArgKind.CONST_STR:
                return wide(register, 2, self.string())
            case ArgKind.BTF_ID_SOCK_COMMON | ArgKind.SOCK_COMMON:
                return copy(register, 7)
            case ArgKind.BTF_ID:
                return copy(register, 8)
            case ArgKind.RINGBUF_MEM:
                return copy(register, 9)
            case _:
                return frame(register)

    def after(self, helper: Helper, args: tuple[HelperArg, ...], map_type: MapType | None) -> bytes:
        """Release what is held."""
        code = b""
        returns = helper.prototype(self.prog_type, map_type=map_type).returns
        if returns.acquires:
            release = copy(1, 0) + mov(2, 0)
            release += call("ringbuf_discard" if returns.kind is ReturnKind.RINGBUF_MEM else "sk_release")
            code += insn(0x15, 0, 0, len(release) // 8) + release
        fetched = self.prog_type is ProgType.XDP and {arg.kind for arg in args} & SOCKETS
        if fetched and not any(arg.releases for arg in args):
            code += copy(1, 7) + call("sk_release")
        return code + EXIT

    def program(
        self, helper: Helper, map_type: MapType | None, broken: dict[int, bytes] | None = None
    ) -> bytes:
        """A program that calls ``helper``; ``broken`` holds other code for some registers."""
        args = helper.prototype(self.prog_type, map_type=map_type).args
        code = self.before(args)
        for register, arg in enumerate(args, 1):
            code += (broken or {}).get(register) or self.argument(register, arg, map_type)
        code += b"".join(mov(register, 0) for register in range(len(args) + 1, 6))
        return code + insn(0x85, imm=helper.id) + self.after(helper, args, map_type)


def within_reach(helper: Helper, prog_type: ProgType) -> Availability | None:
    """The terms, if this test can make the call and the running kernel has it."""
    terms = helper.available(prog_type)
    if terms is None or terms.since > RUNNING or helper.may_sleep:
        return None
    args = terms.prototype.args
    if any(
        a.kind in OUT_OF_REACH or (a.kind is ArgKind.BTF_ID and a.btf_type != "task_struct") for a in args
    ):
        return None
    if helper.map_types and not helper.map_types & MAPS.keys():
        return None
    return terms


def helpers_of(prog_type: ProgType) -> Iterator[tuple[Helper, Availability]]:
    for name in helper_names():
        helper = helper_by_name(name)
        assert helper is not None
        terms = within_reach(helper, prog_type)
        if terms is not None:
            yield helper, terms


def missing(log: str, terms: Availability) -> bool:
    """Whether the kernel is built without the helper, which a condition must say."""
    if "cannot use helper" not in log and "unknown func" not in log:
        return False
    return bool(
        {condition.kind for condition in terms.conditions} & {ConditionKind.CONFIG, ConditionKind.LOCKDOWN}
    )


def unreleasable(helper: Helper, prog_type: ProgType, map_type: MapType | None) -> bool:
    """Whether the result is a socket that programs of this type have no helper to release with."""
    release = helper_by_name("sk_release")
    assert release is not None
    returns = helper.prototype(prog_type, map_type=map_type).returns
    return returns.acquires and returns.kind is ReturnKind.SOCKET and release.available(prog_type) is None


@pytest.mark.parametrize("prog_type", PACKET_PROGRAMS, ids=lambda prog_type: prog_type.name)
def test_calls_made_from_the_row_are_accepted(
    prog_type: ProgType, load_program: Load, create_map: CreateMap
) -> None:
    maker = Maker(prog_type, create_map)
    wrong, accepted = [], 0
    for helper, terms in helpers_of(prog_type):
        map_types: list[MapType | None] = [*sorted(helper.map_types & MAPS.keys())] or [None]
        for map_type in map_types:
            if unreleasable(helper, prog_type, map_type):
                continue
            log = load_program(prog_type, maker.program(helper, map_type))
            accepted += log is None
            updates = "cannot update sockmap in this context" in (log or "")
            if log is not None and not missing(log, terms) and not (updates and prog_type is ProgType.SK_SKB):
                wrong.append(f"{helper.name} {map_type and map_type.name}: {log[-300:]}")
    assert not wrong, "\n".join(wrong)
    assert accepted > 60


@pytest.mark.parametrize("prog_type", PACKET_PROGRAMS, ids=lambda prog_type: prog_type.name)
def test_map_types_beyond_the_row_are_refused(
    prog_type: ProgType, load_program: Load, create_map: CreateMap
) -> None:
    maker = Maker(prog_type, create_map)
    wrong = []
    for helper, _ in helpers_of(prog_type):
        if helper.map_types:
            for map_type in sorted(MAPS.keys() - helper.map_types):
                if load_program(prog_type, maker.program(helper, map_type)) is None:
                    wrong.append(f"{helper.name} takes a {map_type.name}")
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("prog_type", PACKET_PROGRAMS, ids=lambda prog_type: prog_type.name)
def test_broken_arguments_are_refused(prog_type: ProgType, load_program: Load, create_map: CreateMap) -> None:
    """A number for a pointer is refused; null and a size of zero are refused unless the row allows them."""
    maker = Maker(prog_type, create_map)
    wrong = []
    for helper, terms in helpers_of(prog_type):
        args = terms.prototype.args
        map_type = min(helper.map_types & MAPS.keys(), default=None)
        if load_program(prog_type, maker.program(helper, map_type)) is not None:
            continue  # not built in: the test above tells
        for register, arg in enumerate(args, 1):
            size_follows = register < len(args) and args[register].kind in SIZES

            def answer(code: bytes, at: int = register, sized: bool = size_follows) -> str | None:
                """The log with ``code`` for this argument, and with size zero where it is null."""
                broken = {at: code}
                if sized and code == mov(at, 0):
                    broken[at + 1] = mov(at + 1, 0)
                return load_program(prog_type, maker.program(helper, map_type, broken))  # noqa: B023

            if arg.kind not in INTEGERS and arg.kind is not ArgKind.STACK:
                log = answer(mov(register, 1))
                if log is None or f"R{register}" not in log:
                    wrong.append(f"{helper.name} takes 1 for {arg}: {log}")
                log = answer(mov(register, 0))
                zero_size = size_follows and args[register].kind is ArgKind.CONST_SIZE_OR_ZERO
                if arg.nullable and (zero_size or not size_follows) and log is not None and not arg.releases:
                    wrong.append(f"{helper.name} refuses null for {arg}: {log}")
                if not arg.nullable and log is None and not size_follows:
                    wrong.append(f"{helper.name} takes null for {arg}")
            if arg.kind is ArgKind.CONST_SIZE_OR_ZERO and (log := answer(mov(register, 0))) is not None:
                wrong.append(f"{helper.name} refuses size 0: {log}")
            if (
                arg.kind in SIZES
                and answer(mov(register, 1 - STACK)) is None
                and args[register - 2].kind is not ArgKind.SCALAR
            ):
                wrong.append(f"{helper.name} takes more than there is for {arg}")
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("prog_type", PACKET_PROGRAMS, ids=lambda prog_type: prog_type.name)
def test_licences(prog_type: ProgType, load_program: Load, create_map: CreateMap) -> None:
    maker = Maker(prog_type, create_map)
    wrong = []
    for helper, terms in helpers_of(prog_type):
        kinds = {arg.kind for arg in terms.prototype.args}
        if kinds & (SOCKETS | {ArgKind.BTF_ID}):
            continue  # what fetches these may itself be for GPL only
        map_type = min(helper.map_types & MAPS.keys(), default=None)
        log = load_program(prog_type, maker.program(helper, map_type), licence=b"Proprietary")
        if log is not None and missing(log, terms):
            continue
        refused = log is not None and "GPL" in log
        if refused != terms.prototype.gpl_only:
            wrong.append(f"{helper.name}: {'GPL only' if refused else log or 'any licence'}")
    assert not wrong, "\n".join(wrong)
