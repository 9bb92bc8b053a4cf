"""Runs compiled SSA on the kernel: ``bpf(2)`` by ctypes with only what these tests need.

Programs are XDP programs that read operands from the packet and write results back to it. Independent of
``pyebpf.runtime``, so that a failure here is the code generator's.
"""

from __future__ import annotations

import ctypes
import os
import struct
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

from pyebpf import btf
from pyebpf.backend import allocation_check
from pyebpf.backend import insn as isa
from pyebpf.backend.allocate import allocate
from pyebpf.backend.codegen import compile_module
from pyebpf.backend.insn import CallKind, Insn, Pseudo
from pyebpf.backend.select import select
from pyebpf.diagnostics import Span
from pyebpf.ir import ops
from pyebpf.ir.builder import Builder
from pyebpf.ir.ops import Function, FunctionRole, Module, Param, Value
from pyebpf.ir.types import CTX, I64, IRType, PtrTy, Space
from pyebpf.object import FunctionSpec, ObjectSpec, RelocKind
from pyebpf.target import Isa, Target
from pyebpf.uapi.constants import BpfCmd, MapType, ProgType
from pyebpf.uapi.programs import XDP

_LIBC = ctypes.CDLL(None, use_errno=True)
_BPF = 321  # x86-64
XDP_PASS, XDP_ABORTED = 2, 0
SPAN = Span("<test>", 1, 1, 1, 2)
Body = Callable[[Builder, Value], None]


def _bpf(command: int, attributes: bytes) -> tuple[int, bytes]:
    buffer = ctypes.create_string_buffer(attributes, 160)
    result = _LIBC.syscall(_BPF, int(command), buffer, 160)
    return (result if result >= 0 else -ctypes.get_errno()), buffer.raw


def _address(data: ctypes.Array[ctypes.c_char]) -> int:
    return ctypes.addressof(data)


class Rejected(AssertionError):
    """The verifier refused the program; the message is its log and the code."""


# ---------------------------------------------------------------- making modules


def packet_module(body: Body, size: int) -> Module:
    """An XDP program that passes its packet on after ``body(builder, packet)``, where ``size`` bytes of the
    packet may be accessed; it aborts shorter packets. ``body`` leaves the builder in a block without
    terminator."""
    span = SPAN
    ctx = Param(0, type=CTX, name="ctx")
    function = Function("main", [ctx], I64, [], FunctionRole.ENTRY, span, kind=XDP)
    builder = Builder(function, span)
    packet, end = PtrTy(Space.PACKET), PtrTy(Space.PACKET_END)
    data = builder.load(ctx, 0, 4, type=packet, name="data")
    limit = builder.load(ctx, 4, 4, type=end, name="end")
    after = builder.ptradd(data, size)
    short, good = builder.new_block("short"), builder.new_block("good")
    builder.branch(builder.cmp(ops.Pred.UGT, after, limit), short, good, unlikely=True)
    builder.block = short
    builder.ret(builder.const(XDP_ABORTED))
    builder.block = good
    body(builder, data)
    builder.ret(builder.const(XDP_PASS))
    return Module({"main": function}, license="GPL")


def subprogram(
    name: str, params: list[tuple[str, IRType]], result: IRType, role: FunctionRole = FunctionRole.SUBPROGRAM
) -> tuple[Builder, list[Param]]:
    """A function to be filled in."""
    made = [Param(i, type=type_, name=name) for i, (name, type_) in enumerate(params)]
    function = Function(name, made, result, [], role, SPAN)
    return Builder(function, SPAN), made


# ---------------------------------------------------------------- loading and running


def _link(spec: ObjectSpec, maps: Mapping[str, int]) -> tuple[list[Insn], list[tuple[int, FunctionSpec]]]:
    """The program ``main`` with the functions that it needs behind it; (slot, function) of each."""
    functions = {**spec.functions, **spec.programs}
    start: dict[str, int] = {}
    order: list[FunctionSpec] = []
    work, size = ["main"], 0
    while work:
        name = work.pop(0)
        if name in start:
            continue
        start[name] = size
        order.append(functions[name])
        size += len(functions[name].code) // 8
        work += [r.symbol for r in functions[name].relocations if r.kind in (RelocKind.CALL, RelocKind.FUNC)]
    insns: list[Insn] = []
    for function in order:
        slot = 0
        relocations = {r.slot: r for r in function.relocations}
        for insn in isa.decode(function.code):
            at = start[function.name] + slot
            relocation = relocations.get(slot)
            match relocation.kind if relocation else None:
                case None:
                    pass
                case RelocKind.CALL:
                    assert relocation and insn == Insn(isa.CALL, 0, CallKind.SUBPROGRAM, 0, -1)
                    insn = Insn(isa.CALL, 0, CallKind.SUBPROGRAM, 0, start[relocation.symbol] - at - 1)
                case RelocKind.FUNC:
                    assert relocation and insn.imm == insn.src == 0
                    distance = (start[relocation.symbol] - at - 1) & 0xFFFF_FFFF
                    insn = Insn(isa.LD_IMM64, insn.dst, Pseudo.FUNC, 0, distance)
                case RelocKind.MAP:
                    assert relocation
                    insn = Insn(isa.LD_IMM64, insn.dst, Pseudo.MAP_FD, 0, maps[relocation.symbol])
                case RelocKind.DATA:
                    assert relocation
                    variable = spec.data[relocation.section].variable(relocation.symbol)
                    assert variable is not None
                    imm = (variable.offset + relocation.addend) << 32 | maps[relocation.section]
                    insn = Insn(isa.LD_IMM64, insn.dst, Pseudo.MAP_VALUE, 0, imm)
                case kind:
                    raise AssertionError(f"no {kind} here")
            insns.append(insn)
            slot += insn.slots
    return insns, [(start[f.name], f) for f in order]


def _debug_info(functions: list[tuple[int, FunctionSpec]]) -> tuple[int, bytes, bytes]:
    """(fd of the BTF, func_info, line_info)."""
    encoder = btf.Encoder()
    funcs, lines = bytearray(), bytearray()
    for start, function in functions:
        assert function.type is not None
        funcs += struct.pack("<II", start, encoder.add(function.type))
        for line in function.lines:
            position = line.line << 10 | line.column
            file, text = encoder.string(line.file), encoder.string(line.text)
            lines += struct.pack("<IIII", start + line.slot, file, text, position)
    raw = encoder.finish()
    data, log = ctypes.create_string_buffer(raw, len(raw)), ctypes.create_string_buffer(1 << 16)
    attributes = struct.pack("<QQIIII", _address(data), _address(log), len(raw), len(log), 1, 0)
    fd, _ = _bpf(BpfCmd.BTF_LOAD, attributes)
    if fd < 0:
        raise Rejected(f"BTF: {os.strerror(-fd)}: {log.value.decode()}")
    return fd, bytes(funcs), bytes(lines)


def _array(size: int, contents: bytes, read_only: bool) -> int:
    flags = 0x80 if read_only else 0
    fd, _ = _bpf(BpfCmd.MAP_CREATE, struct.pack("<IIIII", MapType.ARRAY, 4, size, 1, flags))
    assert fd >= 0, os.strerror(-fd)
    key, value = ctypes.create_string_buffer(4), ctypes.create_string_buffer(contents, size)
    result, _ = _bpf(BpfCmd.MAP_UPDATE_ELEM, struct.pack("<IIQQQ", fd, 0, _address(key), _address(value), 0))
    assert result == 0, os.strerror(-result)
    if read_only:
        result, _ = _bpf(BpfCmd.MAP_FREEZE, struct.pack("<I", fd))
        assert result == 0, os.strerror(-result)
    return fd


class Loaded:
    """A loaded program ``main``; ``maps`` are the fds of its maps and data sections."""

    def __init__(self, fd: int, maps: Mapping[str, int], spec: ObjectSpec) -> None:
        self.fd = fd
        self.maps = maps
        self.spec = spec

    def run(self, packet: bytes) -> tuple[int, bytes]:
        """(result, packet afterwards) of one run on ``packet``, of at least 14 bytes."""
        given, out = ctypes.create_string_buffer(packet, len(packet)), ctypes.create_string_buffer(4096)
        attributes = struct.pack(
            "<IIIIQQII", self.fd, 0, len(packet), len(out), _address(given), _address(out), 1, 0
        )
        result, after = _bpf(BpfCmd.PROG_TEST_RUN, attributes)
        assert result == 0, os.strerror(-result)
        verdict, _, size = struct.unpack_from("<III", after, 4)
        return verdict, out.raw[:size]

    def value(self, section: str) -> bytes:
        """The contents of a data section."""
        key, value = ctypes.create_string_buffer(4), ctypes.create_string_buffer(65536)
        attributes = struct.pack("<IIQQQ", self.maps[section], 0, _address(key), _address(value), 0)
        result, _ = _bpf(BpfCmd.MAP_LOOKUP_ELEM, attributes)
        assert result == 0, os.strerror(-result)
        return value.raw[: len(self.spec.data[section].contents)]


@contextmanager
def loaded(module: Module, level: Isa = Isa.V3, *, check: bool = True) -> Iterator[Loaded]:
    """``module`` compiled for ``level`` and loaded with its debug information; raises ``Rejected``.

    ``check``: have the register allocation proven right first.
    """
    target = Target(isa=level)
    for function in module.functions.values() if check else ():
        machine = select(function, module, target)
        before = allocation_check.snapshot(machine)
        allocate(machine)
        allocation_check.check(before, machine)
    spec = compile_module(module, target)
    fds: list[int] = []
    try:
        maps = {}
        for name, section in spec.data.items():
            maps[name] = _array(len(section.contents), bytes(section.contents), section.read_only)
            fds.append(maps[name])
        for name, map_spec in spec.maps.items():
            sizes = (map_spec.type, map_spec.key_size, map_spec.value_size, map_spec.max_entries)
            maps[name], _ = _bpf(BpfCmd.MAP_CREATE, struct.pack("<IIIII", *sizes, map_spec.flags))
            assert maps[name] >= 0, os.strerror(-maps[name])
            fds.append(maps[name])
        insns, functions = _link(spec, maps)
        types, funcs, lines = _debug_info(functions)
        fds.append(types)
        fd = _load(isa.encode(insns), types, funcs, lines)
        fds.append(fd)
        yield Loaded(fd, maps, spec)
    finally:
        for fd in fds:
            os.close(fd)


def _load(raw: bytes, types: int, funcs: bytes, lines: bytes) -> int:
    """Load an XDP program; again with a log if it is refused."""
    code, gpl = ctypes.create_string_buffer(raw, len(raw)), ctypes.create_string_buffer(b"GPL")
    func_info, line_info = (ctypes.create_string_buffer(i, len(i)) for i in (funcs, lines))
    for log in (None, ctypes.create_string_buffer(1 << 24)):
        terms = (1, len(log), _address(log)) if log else (0, 0, 0)
        attributes = struct.pack("<IIQQ", ProgType.XDP, len(raw) // 8, _address(code), _address(gpl))
        attributes += (
            struct.pack("<IIQII", *terms, 0, 0) + b"main".ljust(16, b"\0") + struct.pack("<II", 0, 0)
        )
        attributes += struct.pack("<IIQI", types, 8, _address(func_info), len(funcs) // 8)
        attributes += struct.pack("<IQI", 16, _address(line_info), len(lines) // 16)
        fd, _ = _bpf(BpfCmd.PROG_LOAD, attributes)
        if fd >= 0:
            return fd
    assert log is not None
    raise Rejected(f"{os.strerror(-fd)}\n{log.value.decode(errors='replace')[-6000:]}")
