"""The small parts of the runtime: descriptors, errors, privileges, CPU lists, linking, features."""

from __future__ import annotations

import errno
import gc
import os
import sys

import pytest

from pyebpf import btf
from pyebpf.backend.insn import CALL, EXIT, LD_IMM64, CallKind, Insn, Pseudo, decode, encode
from pyebpf.diagnostics import PyebpfError
from pyebpf.object import FunctionSpec, LineInfo, ObjectSpec, ProgramSpec, Relocation, RelocKind
from pyebpf.runtime import privilege
from pyebpf.runtime.core_compat import types_compatible
from pyebpf.runtime.cpus import parse_cpu_list
from pyebpf.runtime.errors import (
    ENOTSUPP,
    BpfError,
    NotSupported,
    ObjectError,
    PermissionDenied,
    Phase,
    VerifierError,
    errno_name,
)
from pyebpf.runtime.fd import Fd
from pyebpf.runtime.linker import link
from pyebpf.runtime.map_create import kernel_name
from pyebpf.runtime.privilege import Need, explain_denial, map_need, program_need
from pyebpf.runtime.references import KernelFunction, KernelSymbol, MapAddress, resolve
from pyebpf.runtime.syscall import error
from pyebpf.uapi.constants import MapType, ProgType


def is_open(number: int) -> bool:
    """Whether this process has the descriptor."""
    try:
        os.fstat(number)
    except OSError:
        return False
    return True


def test_a_descriptor_closes_once() -> None:
    read, write = os.pipe()
    first, second = Fd(read), Fd(write)
    assert (first.fileno(), first.closed) == (read, False)
    first.close()
    assert first.closed and not is_open(read)
    # The number is somebody else's now; closing again must leave it alone.
    again = os.dup(write)
    assert again == read
    first.close()
    assert is_open(again)
    with pytest.raises(ValueError, match="closed"):
        first.fileno()
    os.close(again)
    with second.duplicate() as other:
        assert other.fileno() != second.fileno()
        assert not os.get_inheritable(other.fileno())
    del second
    gc.collect()
    assert not is_open(write)


def test_low_descriptors_are_moved_up() -> None:
    saved = os.dup(0)
    os.close(0)
    try:
        read, write = os.pipe()
        assert read == 0
        with Fd(read) as moved, Fd(write):
            assert moved.fileno() >= 3
            assert not is_open(0)
            assert not os.get_inheritable(moved.fileno())
    finally:
        os.dup2(saved, 0)
        os.close(saved)


def test_errors_are_oserrors_with_phase_and_log() -> None:
    found = error(errno.E2BIG, Phase.MAP_UPDATE, "'counts'")
    assert isinstance(found, BpfError) and isinstance(found, OSError) and isinstance(found, PyebpfError)
    assert str(found) == "cannot write to the map 'counts': E2BIG (Argument list too long)"
    assert isinstance(error(errno.EPERM, Phase.MAP_CREATE), PermissionDenied)
    assert isinstance(error(errno.EPERM, Phase.MAP_CREATE), PermissionError)
    for code in (ENOTSUPP, errno.EOPNOTSUPP):
        assert isinstance(error(code, Phase.PROG_RUN), NotSupported)
    assert errno_name(524) == "ENOTSUPP"
    assert errno_name(999) == "errno 999"
    long = BpfError(errno.EINVAL, Phase.BTF_LOAD, log="\n".join(f"line {n}" for n in range(100)))
    assert "(60 lines before these are in `.log`)" in str(long)
    assert str(long).endswith("line 99")
    refused = VerifierError(errno.EACCES, "prog", "line 1\nline 2")
    assert (refused.program, refused.errno) == ("prog", errno.EACCES)
    assert "the kernel said: line 2" in str(refused)


def pretend(
    monkeypatch: pytest.MonkeyPatch, caps: int, uid_map: str = "0 0 4294967295", lockdown: str = ""
) -> None:
    """Let /proc and /sys say this."""
    files = {
        "/proc/self/status": f"Name:\tx\nCapEff:\t{caps:016x}\n",
        "/proc/self/uid_map": uid_map,
        "/sys/kernel/security/lockdown": lockdown,
        "/proc/sys/kernel/unprivileged_bpf_disabled": "1\n",
    }
    monkeypatch.setattr(privilege, "_read", lambda path: files.get(path, ""))


def test_denials_are_explained(monkeypatch: pytest.MonkeyPatch) -> None:
    both = Need.BPF | Need.NET_ADMIN
    pretend(monkeypatch, 0)
    assert explain_denial(both).startswith("this process lacks CAP_BPF and CAP_NET_ADMIN (sysctl")
    pretend(monkeypatch, 1 << 39)
    assert "lacks CAP_NET_ADMIN" in explain_denial(both)
    pretend(monkeypatch, 1 << 21)
    assert "lacks" not in explain_denial(both)
    everything = (1 << 41) - 1
    pretend(monkeypatch, everything, "0 1000 1")
    assert "user namespace" in explain_denial(both)
    pretend(monkeypatch, everything, lockdown="none integrity [confidentiality]")
    assert "lockdown=confidentiality" in explain_denial(both)
    pretend(monkeypatch, everything, lockdown="[none] integrity")
    assert "security policy" in explain_denial(both)
    assert all("\n" not in explain_denial(need) for need in (Need.BPF, both, Need.SYS_ADMIN))


def test_what_each_type_needs() -> None:
    assert program_need(ProgType.SOCKET_FILTER) == Need.BPF
    assert program_need(ProgType.XDP) == Need.BPF | Need.NET_ADMIN
    assert program_need(ProgType.KPROBE) == Need.BPF | Need.PERFMON
    assert map_need(MapType.HASH) == Need.BPF
    assert map_need(MapType.SOCKMAP) == Need.BPF | Need.NET_ADMIN


def test_cpu_lists() -> None:
    assert parse_cpu_list("0\n") == [0]
    assert parse_cpu_list("0-3,8,10-11\n") == [0, 1, 2, 3, 8, 10, 11]
    assert parse_cpu_list("\n") == []


def test_kernel_names() -> None:
    assert kernel_name("short") == b"short"
    assert kernel_name("nämé") == b"n_m_"
    assert kernel_name("a-b/c.d") == b"a_b_c.d"
    assert len(kernel_name("x" * 40)) == 15


def function(name: str, *insns: Insn, relocations: tuple[Relocation, ...] = ()) -> FunctionSpec:
    """A subprogram."""
    return FunctionSpec(name, encode(insns, sys.byteorder == "little"), relocations=relocations)


def entry(*insns: Insn, relocations: tuple[Relocation, ...] = ()) -> ProgramSpec:
    """The program ``main``."""
    return ProgramSpec("main", encode(insns, sys.byteorder == "little"), relocations=relocations)


SUB = Insn(CALL, src=CallKind.SUBPROGRAM, imm=-1)
LOAD = Insn(LD_IMM64, 1)


def test_linking_places_functions_in_the_order_of_their_first_use() -> None:
    main = entry(
        SUB,
        LOAD,
        SUB,
        Insn(EXIT),
        relocations=(
            Relocation(0, RelocKind.CALL, "b"),
            Relocation(1, RelocKind.FUNC, "a"),
            Relocation(3, RelocKind.CALL, "b"),
        ),
    )
    a = function("a", SUB, Insn(EXIT), relocations=(Relocation(0, RelocKind.CALL, "b"),))
    b = function("b", Insn(EXIT))
    a.lines = (LineInfo(0, "f.py", 3, 1, "a"), LineInfo(1, "f.py", 4, 1, "b"))
    linked = link(ObjectSpec({"main": main}, {"a": a, "b": b, "c": function("c", Insn(EXIT))}), main)
    assert [(slot, f.name) for slot, f in linked.functions] == [(0, "main"), (5, "b"), (6, "a")]
    code = decode(bytes(linked.code))
    assert code[0] == Insn(CALL, src=CallKind.SUBPROGRAM, imm=4)
    assert (code[1].src, code[1].imm) == (Pseudo.FUNC, 4)
    assert code[2].imm == 1
    assert code[5] == Insn(CALL, src=CallKind.SUBPROGRAM, imm=-2)
    assert [(slot, line.line) for slot, line in linked.lines] == [(6, 3), (7, 4)]


class Known:
    """What the references of the test below stand for."""

    def place(self, relocation: Relocation) -> MapAddress:
        """One map, or something in it."""
        return MapAddress(9, 24 if relocation.kind is RelocKind.DATA else None)

    def function(self, symbol: str) -> KernelFunction | None:
        """Of the kernel, or of a module."""
        return {"there": KernelFunction(1234), "module": KernelFunction(77, 3)}.get(symbol)

    def address(self, symbol: str) -> MapAddress | KernelSymbol | int:
        """By id, in a module, in a map, in memory."""
        known: dict[str, MapAddress | KernelSymbol | int] = {
            "there": KernelSymbol(1234),
            "module": KernelSymbol(77, 5),
            "here": MapAddress(9, 16),
            "plain": 0xFFFF_8000_0000_1234,
        }
        return known.get(symbol, 0)


def test_references_are_filled_in() -> None:
    main = entry(
        LOAD,
        LOAD,
        Insn(CALL, src=CallKind.KFUNC, imm=-1),
        LOAD,
        LOAD,
        LOAD,
        LOAD,
        LOAD,
        Insn(CALL, src=CallKind.KFUNC, imm=-1),
        Insn(CALL, src=CallKind.KFUNC, imm=-1),
        relocations=(
            Relocation(0, RelocKind.MAP, "m"),
            Relocation(2, RelocKind.DATA, "v"),
            Relocation(4, RelocKind.KFUNC, "there"),
            Relocation(5, RelocKind.EXTERN, "there"),
            Relocation(7, RelocKind.EXTERN, "absent"),
            Relocation(9, RelocKind.EXTERN, "plain"),
            Relocation(11, RelocKind.EXTERN, "here"),
            Relocation(13, RelocKind.EXTERN, "module"),
            Relocation(15, RelocKind.KFUNC, "module"),
            Relocation(16, RelocKind.KFUNC, "absent"),
        ),
    )
    linked = link(ObjectSpec({"main": main}), main)
    absent = resolve(linked.code, linked.open, Known())
    code = decode(bytes(linked.code))
    assert (code[0].src, code[0].imm) == (Pseudo.MAP_FD, 9)
    assert (code[1].src, code[1].imm) == (Pseudo.MAP_VALUE, 24 << 32 | 9)
    assert (code[2].src, code[2].imm) == (CallKind.KFUNC, 1234)
    assert (code[3].src, code[3].imm) == (Pseudo.BTF_ID, 1234)
    assert (code[4].src, code[4].imm) == (Pseudo.NONE, 0)
    assert (code[5].src, code[5].imm & (1 << 64) - 1) == (Pseudo.NONE, 0xFFFF_8000_0000_1234)
    assert (code[6].src, code[6].imm) == (Pseudo.MAP_VALUE, 16 << 32 | 9)
    assert (code[7].src, code[7].imm) == (Pseudo.BTF_ID, 5 << 32 | 77)
    assert (code[8].src, code[8].offset, code[8].imm) == (CallKind.KFUNC, 3, 77)
    assert (code[9].src, code[9].imm) == (CallKind.HELPER, 2_002_000_009)
    assert [(one.slot, one.relocation.symbol) for one in absent] == [(16, "absent")]


def test_line_information_of_some_functions_only_is_refused() -> None:
    main = entry(SUB, Insn(EXIT), relocations=(Relocation(0, RelocKind.CALL, "a"),))
    main.lines = (LineInfo(0, "f.py", 1, 1, "x"),)
    with pytest.raises(ObjectError, match="'a' has no line information"):
        link(ObjectSpec({"main": main}, {"a": function("a", Insn(EXIT))}), main)


def test_compatible_prototypes() -> None:
    task, empty = btf.Struct("task_struct", 100), btf.Struct("anything", 0)
    pointer = btf.Ptr(btf.Const(task))
    assert types_compatible(btf.Ptr(empty), pointer)
    assert not types_compatible(btf.Ptr(btf.Fwd("task_struct")), pointer)
    assert not types_compatible(btf.INT, pointer)
    ours = btf.FuncProto(btf.INT, (btf.Param("a", btf.U64),))
    assert types_compatible(ours, btf.FuncProto(btf.S32, (btf.Param("", btf.U8),)))
    assert not types_compatible(
        btf.FuncProto(btf.INT, ()), btf.FuncProto(btf.INT, (btf.Param("a", btf.U64),))
    )
    assert not types_compatible(btf.FuncProto(None, ()), btf.FuncProto(btf.INT, ()))
