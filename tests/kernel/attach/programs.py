"""Tracing programs made by hand: they count what this process does, and keep the cookie and an argument."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from pyebpf import btf
from pyebpf.backend.insn import LD_IMM64, Alu, Insn, Jmp, Source, alu, encode, jump, ldx
from pyebpf.object import Relocation, RelocKind
from pyebpf.runtime.attrs import ProgLoad
from pyebpf.runtime.errors import Phase
from pyebpf.runtime.kernel_btf import vmlinux
from pyebpf.runtime.load import load
from pyebpf.runtime.maps import ArrayMap, Map
from pyebpf.runtime.program import LoadedProgram
from pyebpf.runtime.syscall import bpf_fd
from pyebpf.uapi.constants import AttachType, BpfCmd, ProgType
from tests.kernel.runtime.objects import (
    MAP_LOOKUP,
    add,
    address,
    an_object,
    array_of_u64,
    atomic_add,
    call,
    copy,
    exit_,
    if_null,
    mov,
    program,
    store,
    store_reg,
)

CURRENT_PID_TGID = 14
SEQ_WRITE = 127
ATTACH_COOKIE = 174
MAP_FD = 1

COUNT, COOKIE, VALUE = range(3)
"""The elements of the array."""


def _slot(number: int, body: Sequence[Insn]) -> list[Insn]:
    """Do ``body`` with the address of element ``number`` in r0."""
    return [
        store(-4, number),
        copy(2, 10),
        add(2, -4),
        address(1),
        call(MAP_LOOKUP),
        if_null(0, len(body)),
        *body,
    ]


def _slots(insns: Sequence[Insn]) -> int:
    return sum(2 if i.opcode == LD_IMM64 else 1 for i in insns)


def counting(
    *,
    cookie: bool = False,
    value: Sequence[Insn] = (),
    any_process: bool = False,
    result: int = 0,
) -> list[Insn]:
    """A program that counts the calls by this process, with its context in r6.

    ``cookie``: it keeps the cookie. ``value``: instructions that leave what it is to keep in r8. ``result``: what it
    returns.
    """
    work = _slot(COUNT, [mov(1, 1), atomic_add(0, 1)])
    if cookie:
        work += [copy(1, 6), call(ATTACH_COOKIE), copy(7, 0), *_slot(COOKIE, [store_reg(0, 0, 7)])]
    if value:
        work += [*value, *_slot(VALUE, [store_reg(0, 0, 8)])]
    guard = []
    if not any_process:
        not_ours = Insn(jump(Jmp.JNE, Source.K), 0, imm=os.getpid(), offset=_slots(work))
        guard = [call(CURRENT_PID_TGID), Insn(alu(Alu.RSH, Source.K), 0, imm=32), not_ours]
    return [copy(6, 1), *guard, *work, mov(0, result), exit_]


def argument(number: int) -> list[Insn]:
    """Put argument ``number`` of a raw tracepoint or a traced function into r8."""
    return [Insn(ldx(8), 8, 6, number * 8)]


def register(offset: int) -> list[Insn]:
    """Put a register of ``struct pt_regs`` into r8."""
    return [Insn(ldx(8), 8, 6, offset)]


@dataclass
class Counter:
    """A loaded program of ``counting``, and what it counted."""

    program: LoadedProgram
    counts: ArrayMap

    @property
    def count(self) -> int:
        """How often it ran for this process."""
        return self._get(COUNT)

    @property
    def cookie(self) -> int:
        """The cookie of its last run."""
        return self._get(COOKIE)

    @property
    def value(self) -> int:
        """What it kept in its last run."""
        return self._get(VALUE)

    def _get(self, number: int) -> int:
        found = self.counts[number]
        assert isinstance(found, int)
        return found


@contextmanager
def loaded(
    prog_type: ProgType, code: Sequence[Insn], attach_type: AttachType | None = None
) -> Iterator[Counter]:
    """Load a program of ``counting`` through the loader."""
    at, relocations = 0, []
    for insn in code:
        if insn.opcode == LD_IMM64:
            relocations.append(Relocation(at, RelocKind.MAP, "counts"))
        at += 2 if insn.opcode == LD_IMM64 else 1
    spec = program(code, prog_type, relocations=tuple(relocations), attach_type=attach_type)
    with load(an_object(spec, maps=[array_of_u64()])) as made:
        counts = made.maps["counts"]
        assert isinstance(counts, ArrayMap)
        yield Counter(made.programs["prog"], counts)


def btf_id(name: str, kind: btf.Kind = btf.Kind.FUNC) -> int:
    """The id of something in the kernel's type information."""
    return vmlinux().ids(name, kind)[0]


def load_traced(
    code: Sequence[Insn],
    attach_type: AttachType,
    attach_btf_id: int,
    *,
    prog_type: ProgType = ProgType.TRACING,
    counts: Map | None = None,
    flags: int = 0,
    other: LoadedProgram | None = None,
) -> LoadedProgram:
    """Load a program for a place in the kernel, or in ``other``, by its BTF id. ``counts`` is what ``ld_imm64`` refers to."""
    fixed = [
        Insn(LD_IMM64, i.dst, MAP_FD, imm=counts.fd) if i.opcode == LD_IMM64 and counts is not None else i
        for i in code
    ]
    data = encode(fixed)
    text = ctypes.create_string_buffer(data, len(data))
    license_ = ctypes.create_string_buffer(b"GPL")
    attr = ProgLoad(
        prog_type=prog_type,
        insn_cnt=len(data) // 8,
        insns=ctypes.addressof(text),
        license=ctypes.addressof(license_),
        expected_attach_type=attach_type,
        attach_btf_id=attach_btf_id,
        attach_btf_obj_fd=other.fd if other is not None else 0,
        prog_flags=flags,
        prog_name=b"prog",
    )
    return LoadedProgram(
        bpf_fd(BpfCmd.PROG_LOAD, attr, Phase.PROG_LOAD, "'prog'"), "prog", prog_type, attach_type
    )


@contextmanager
def traced(
    code: Sequence[Insn], attach_type: AttachType, target: int, prog_type: ProgType = ProgType.TRACING
) -> Iterator[Counter]:
    """As ``loaded``, for a place in the kernel."""
    with loaded(ProgType.SOCKET_FILTER, counting(any_process=True)) as holder:
        made = load_traced(code, attach_type, target, prog_type=prog_type, counts=holder.counts)
        with made:
            yield Counter(made, holder.counts)


def writes_field(at: int, offset: int, size: int) -> list[Insn]:
    """An iterator's program that writes ``size`` bytes at ``offset`` of what the context has a pointer to at ``at``."""
    return [
        copy(6, 1),
        Insn(ldx(8), 7, 6, at),
        if_null(7, 8),
        Insn(ldx(size), 1, 7, offset),
        store_reg(10, -8, 1),
        Insn(ldx(8), 1, 6, 0),
        Insn(ldx(8), 1, 1, 0),
        copy(2, 10),
        add(2, -8),
        mov(3, size),
        call(SEQ_WRITE),
        mov(0, 0),
        exit_,
    ]


def member_offset(struct: str, member: str) -> int:
    """Where a member is in a struct of the kernel, in bytes."""
    found = vmlinux().find(struct, btf.Kind.STRUCT)
    assert isinstance(found, btf.Struct)
    return next(m.offset for m in found.members if m.name == member)
