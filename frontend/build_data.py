"""Maps and data sections of the module: declarations become specs, constants and variables get their
place."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from pyebpf import btf
from pyebpf.declare import GlobalDecl
from pyebpf.diagnostics import InternalError
from pyebpf.hints import Any, assert_never
from pyebpf.ir.builder import Builder
from pyebpf.ir.ops import ExternRef, GlobalRef, Module
from pyebpf.layout import ArrayType, BytesType, IntType, Layout, Order, StructType, round_up
from pyebpf.object import DataSection, Extern, Variable
from pyebpf.target import Target

PHASE = "building SSA"


def foreign(layout: IntType, target: Target) -> bool:
    """Whether integers of ``layout`` lie in memory in the other byte order than the target's own."""
    if layout.order is Order.NATIVE or layout.bits == 8:
        return False
    return (layout.order is Order.LITTLE) is not target.little_endian


def encode(value: Any, layout: Layout, target: Target) -> bytes:
    """The bytes of the initial ``value`` (``None``: zeros) as the target has them in memory.

    Structs are instances of their class or mappings, arrays are sequences; integers keep their low bits, byte
    strings are zero-filled.
    """
    if value is None:
        return bytes(layout.size)
    match layout:
        case IntType(bits=bits):
            little = target.little_endian is not foreign(layout, target)
            low = int(value) & ((1 << bits) - 1)
            return low.to_bytes(layout.size, "little" if little else "big")
        case BytesType(length=length):
            return bytes(value).ljust(length, b"\0")[:length]
        case ArrayType(element=element):
            assert isinstance(value, Sequence)
            return b"".join(encode(item, element, target) for item in value).ljust(layout.size, b"\0")
        case StructType(fields=fields):
            out = bytearray(layout.size)
            for field in fields:
                named = isinstance(value, Mapping)
                item = value.get(field.name) if named else getattr(value, field.name, None)
                if item is not None:
                    out[field.offset : field.offset + field.layout.size] = encode(item, field.layout, target)
            return bytes(out)
        case _:
            assert_never(layout)


def variable_align(layout: Layout) -> int:
    """Where variables are placed: long ones at multiples of 8, so that they can be copied and compared so."""
    return 8 if layout.size >= 8 else layout.align


class DataBuilder:
    """Fills ``module.data``: variables of the user, and constants, each distinct one once."""

    def __init__(self, module: Module, target: Target) -> None:
        self.module = module
        self._target = target
        self._globals: dict[GlobalDecl, tuple[str, str]] = {}
        self._constants: dict[bytes, str] = {}
        self._roots: dict[btf.Type, str] = {}

    def add_global(self, decl: GlobalDecl) -> None:
        """Place a variable: ``.rodata`` for constants, ``.bss`` for zeros, else ``.data``."""
        if decl.name is None:
            raise InternalError("a variable without a name", phase=PHASE)
        contents = encode(decl.initial, decl.layout, self._target)
        section = decl.section or (".rodata" if decl.constant else ".data" if any(contents) else ".bss")
        if section.startswith(".bss") and any(contents):
            raise InternalError(f"variable {decl.name} in {section} is not zero", phase=PHASE)
        self._place(section, decl.name, contents, decl.layout, variable_align(decl.layout), static=False)
        self._globals[decl] = (section, decl.name)

    def use_extern(self, extern: Extern) -> None:
        """Declare a function of the kernel that is called."""
        self.module.externs[extern.name] = extern

    def core_root(self, type_: btf.Type) -> str:
        """The name in the module of a type of the kernel."""
        known = self._roots.get(type_)
        if known is None:
            known = f"{btf.describe(type_)}"
            if known in self.module.core_types:
                known = f"{known} #{len(self._roots)}"
            self._roots[type_] = known
            self.module.core_types[known] = type_
        return known

    def kconfig(self, extern: Extern, builder: Builder, size: int) -> ExternRef:
        """The address of a value that the loader knows."""
        self.module.externs[extern.name] = extern
        return builder.extern_ref(extern.name, size)

    def global_ref(self, decl: GlobalDecl, builder: Builder) -> GlobalRef:
        """The address of a variable."""
        section, name = self._globals[decl]
        return builder.global_ref(section, name, decl.layout.size)

    def constant_ref(self, data: bytes, layout: Layout | None, label: str, builder: Builder) -> GlobalRef:
        """The address of constant bytes, 8-byte aligned."""
        name = self._constants.get(data)
        if name is None:
            stem = re.sub(r"[^A-Za-z0-9_]", "_", label) or "const"
            name = f"{stem}.{len(self._constants)}"
            self._place(".rodata", name, data, layout, 8, static=True)
            self._constants[data] = name
        return builder.global_ref(".rodata", name, len(data))

    def _place(
        self, section: str, name: str, contents: bytes, layout: Layout | None, align: int, *, static: bool
    ) -> None:
        data = self.module.data.setdefault(section, DataSection(section))
        offset = round_up(len(data.contents), align)
        data.contents.extend(bytes(offset - len(data.contents)))
        data.contents.extend(contents)
        data.variables.append(Variable(name, offset, len(contents), layout=layout, static=static))
