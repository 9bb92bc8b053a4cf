"""Object specs written by hand for the tests of the object file reader and writer, and a comparison of
specs.
"""

from __future__ import annotations

import dataclasses
import struct
from dataclasses import dataclass, field

from pyebpf import btf
from pyebpf.layout import I32, U8, U16, U32, U64, ArrayType, BytesType, struct_type
from pyebpf.object import (
    DataSection,
    Extern,
    FunctionSpec,
    LineInfo,
    Linkage,
    MapSpec,
    ObjectSpec,
    Pinning,
    ProgramSpec,
    Relocation,
    RelocKind,
    Variable,
)
from pyebpf.uapi.constants import AttachType, MapType, ProgType

LICENSE = "GPL"
FILE = "samples.py"
KEY = struct_type("flow", [("port", U16), ("address", U32), ("name", BytesType(6)), ("id", U64)])


@dataclass
class Code:
    """Instructions in normal form, with their relocations and one line each."""

    little_endian: bool = True
    data: bytearray = field(default_factory=bytearray)
    relocations: list[Relocation] = field(default_factory=list)
    lines: list[LineInfo] = field(default_factory=list)

    def op(self, opcode: int, dst: int = 0, src: int = 0, offset: int = 0, imm: int = 0) -> Code:
        """Append one instruction."""
        slot = len(self.data) // 8
        self.lines.append(LineInfo(slot, FILE, 10 + slot, 5, f"line {10 + slot}"))
        registers = src << 4 | dst if self.little_endian else dst << 4 | src
        order = "<" if self.little_endian else ">"
        self.data += struct.pack(order + "BBhi", opcode, registers, offset, imm)
        return self

    def mov(self, dst: int, imm: int) -> Code:
        """``dst = imm``."""
        return self.op(0xB7, dst, imm=imm)

    def helper(self, number: int) -> Code:
        """Call a helper."""
        return self.op(0x85, imm=number)

    def exit(self, value: int | None = None) -> Code:
        """Return, with a value if given."""
        if value is not None:
            self.mov(0, value)
        return self.op(0x95)

    def load(self, dst: int, kind: RelocKind, symbol: str, section: str = "", addend: int = 0) -> Code:
        """``dst = `` the address of something."""
        self.relocations.append(Relocation(len(self.data) // 8, kind, symbol, section, addend))
        self.op(0x18, dst)
        self.data += bytes(8)
        return self

    def call(self, kind: RelocKind, symbol: str) -> Code:
        """Call a subprogram or a kernel function."""
        self.relocations.append(Relocation(len(self.data) // 8, kind, symbol))
        return self.op(0x85, 0, 1, imm=-1)

    def function(
        self, name: str, linkage: Linkage = Linkage.STATIC, type_: btf.Func | None = None
    ) -> FunctionSpec:
        """A subprogram of this code."""
        parts = tuple(self.relocations), tuple(self.lines)
        return FunctionSpec(name, bytes(self.data), linkage, *parts, type=type_)

    def program(
        self, name: str, section: str, prog_type: ProgType, attach_type: AttachType | None
    ) -> ProgramSpec:
        """An entry point of this code."""
        return ProgramSpec(
            name,
            bytes(self.data),
            relocations=tuple(self.relocations),
            lines=tuple(self.lines),
            section=section,
            prog_type=prog_type,
            attach_type=attach_type,
        )


def minimal(little_endian: bool = True) -> ObjectSpec:
    """One program that passes every packet."""
    program = Code(little_endian).exit(2).program("pass_all", "xdp", ProgType.XDP, AttachType.XDP)
    return ObjectSpec({"pass_all": program}, license=LICENSE, little_endian=little_endian)


def callback_type() -> btf.Func:
    """The prototype of a callback of ``bpf_loop``."""
    params = btf.Param("index", btf.U32), btf.Param("context", btf.Ptr(None))
    return btf.Func("on_turn", btf.FuncProto(btf.S64, params))


def global_type() -> btf.Func:
    """A global function with a tagged parameter."""
    proto = btf.FuncProto(btf.INT, (btf.Param("ctx", btf.Ptr(None)),))
    return btf.Func("sum_up", proto, btf.FuncLinkage.GLOBAL, (btf.Tag("arg:ctx", 0),))


def full(little_endian: bool = True) -> ObjectSpec:
    """Maps, data, subprograms, a callback: everything that old and new libbpf, ``ip`` and ``tc`` load."""
    spec = ObjectSpec(license=LICENSE, little_endian=little_endian)
    for entry in (
        MapSpec("flows", MapType.HASH, KEY.size, 8, 128, key=KEY, value=U64),
        MapSpec("totals", MapType.PERCPU_ARRAY, 4, 16, 4, key=U32, value=ArrayType(U64, 2)),
        MapSpec("ring", MapType.RINGBUF, 0, 0, 4096),
        MapSpec("stacks", MapType.STACK_TRACE, 4, 80, 16, key=U32, value=ArrayType(U64, 10)),
    ):
        spec.maps[entry.name] = entry
    data = bytearray(struct.pack("<IIQ", 7, 0, 9))
    spec.data[".data"] = DataSection(
        ".data", data, [Variable("limit", 0, 4, layout=U32), Variable("total", 8, 8, layout=U64)]
    )
    spec.data[".bss"] = DataSection(
        ".bss", bytearray(12), [Variable("seen", 0, 12, layout=ArrayType(I32, 3))]
    )
    text = Variable("greeting", 0, 6, layout=BytesType(6), static=True)
    spec.data[".rodata"] = DataSection(
        ".rodata", bytearray(b"hello\0\x2a"), [text, Variable("answer", 6, 1, layout=U8)]
    )
    order = little_endian
    spec.functions["on_turn"] = Code(order).exit(0).function("on_turn", type_=callback_type())
    twice = Code(order).call(RelocKind.CALL, "leaf").exit().function("twice")
    spec.functions["twice"] = twice
    spec.functions["leaf"] = Code(order).load(1, RelocKind.DATA, "total", ".data").exit(1).function("leaf")
    summed = Code(order).exit(3).function("sum_up", Linkage.GLOBAL, global_type())
    spec.functions["sum_up"] = summed
    main = (
        Code(order).op(0xBF, 6, 1).op(0x7A, 10, offset=-8).op(0x7A, 10, offset=-16).op(0x7A, 10, offset=-24)
    )
    main.load(1, RelocKind.MAP, "flows").op(0xBF, 2, 10).op(0x07, 2, imm=-24).helper(1)
    main.load(1, RelocKind.DATA, "limit", ".data").op(0x61, 2, 1)
    main.load(1, RelocKind.DATA, "", ".rodata", 1).op(0x71, 2, 1)
    main.load(1, RelocKind.DATA, "seen", ".bss").op(0x62, 1, imm=5)
    main.call(RelocKind.CALL, "twice").op(0xBF, 1, 6).call(RelocKind.CALL, "sum_up")
    main.mov(1, 4).load(2, RelocKind.FUNC, "on_turn").mov(3, 0).mov(4, 0).helper(181).exit(2)
    spec.programs["count"] = main.program("count", "xdp", ProgType.XDP, AttachType.XDP)
    second = Code(order).load(1, RelocKind.MAP, "totals").exit(0)
    spec.programs["look"] = second.program("look", "tc", ProgType.SCHED_CLS, None)
    return spec


def tables() -> ObjectSpec:
    """A program array and an array of maps with initial values, a pinned map, a program that waits."""
    spec = ObjectSpec(license=LICENSE)
    inner = MapSpec("outer.inner", MapType.ARRAY, 4, 8, 4, key=U32, value=U64)
    for entry in (
        MapSpec("chain", MapType.PROG_ARRAY, 4, 4, 8, slots={0: "first", 5: "second"}),
        MapSpec("left", MapType.ARRAY, 4, 8, 4, key=U32, value=U64),
        MapSpec("outer", MapType.ARRAY_OF_MAPS, 4, 4, 3, inner=inner, slots={1: "left"}),
        MapSpec("kept", MapType.ARRAY, 4, 4, 1, key=U32, value=U32, pinning=Pinning.BY_NAME),
    ):
        spec.maps[entry.name] = entry
    for name in ("first", "second"):
        spec.programs[name] = Code().exit(1).program(name, "socket", ProgType.SOCKET_FILTER, None)
    waiting = Code().load(1, RelocKind.MAP, "chain").load(1, RelocKind.MAP, "outer").exit(0)
    spec.programs["later"] = waiting.program("later", "socket", ProgType.SOCKET_FILTER, None)
    spec.programs["later"].autoload = False
    return spec


def externs() -> ObjectSpec:
    """Values of the kernel's configuration and a function of the kernel."""
    spec = ObjectSpec(license=LICENSE)
    params = tuple(btf.Param(name, btf.Ptr(btf.Const(btf.CHAR))) for name in ("s1__ign", "s2__ign"))
    compare = btf.Func("bpf_strcmp", btf.FuncProto(btf.INT, params), btf.FuncLinkage.EXTERN)
    for entry in (
        Extern("LINUX_KERNEL_VERSION", ".kconfig", btf.INT),
        Extern("CONFIG_BPF_JIT", ".kconfig", btf.BOOL, weak=True),
        Extern("bpf_strcmp", ".ksyms", compare),
    ):
        spec.externs[entry.name] = entry
    spec.data[".rodata"] = DataSection(
        ".rodata", bytearray(b"a\0b\0"), [Variable("text", 0, 4, layout=BytesType(4))]
    )
    code = Code().load(1, RelocKind.EXTERN, "LINUX_KERNEL_VERSION").op(0x61, 6, 1)
    code.load(1, RelocKind.EXTERN, "CONFIG_BPF_JIT").op(0x71, 7, 1)
    code.load(1, RelocKind.DATA, "text", ".rodata").load(2, RelocKind.DATA, "", ".rodata", 2)
    code.call(RelocKind.KFUNC, "bpf_strcmp").exit(0)
    spec.programs["ask"] = code.program("ask", "tc", ProgType.SCHED_CLS, None)
    return spec


def differences(first: object, second: object, path: str = "") -> list[str]:
    """Where two specs differ, by attribute; types are compared by shape."""
    if type(first) in btf.types.KINDS or type(second) in btf.types.KINDS:
        same = type(first) is type(second) and btf.equal(first, second)  # type: ignore[arg-type]  # just checked
        return [] if same else [f"{path}: {first!r} != {second!r}"]
    if dataclasses.is_dataclass(first) and type(first) is type(second):
        return [
            line
            for f in dataclasses.fields(first)
            for line in differences(getattr(first, f.name), getattr(second, f.name), f"{path}.{f.name}")
        ]
    if isinstance(first, dict) and isinstance(second, dict) and first.keys() == second.keys():
        return [line for key in first for line in differences(first[key], second[key], f"{path}[{key!r}]")]
    if isinstance(first, list | tuple) and type(first) is type(second) and len(first) == len(second):
        pairs = enumerate(zip(first, second, strict=True))
        return [line for number, (a, b) in pairs for line in differences(a, b, f"{path}[{number}]")]
    return [] if first == second else [f"{path}: {first!r} != {second!r}"]
