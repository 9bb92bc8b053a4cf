"""What must hold of an ``ObjectSpec`` before it becomes a file: asserted, because a violation is a bug of
ours.

Loaders and the kernel check the same much later and say much less. The rules are libbpf's and those of
kernel/bpf/btf.c and verifier.c in Linux 6.18.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterable, Iterator

from pyebpf import btf
from pyebpf.backend.insn import CALL, LD_IMM64, SLOT_BYTES, CallKind, Class, Source
from pyebpf.btf.access import CoreKind, local_value
from pyebpf.diagnostics import InternalError
from pyebpf.object import (
    CoreRelocation,
    DataSection,
    FunctionSpec,
    Linkage,
    ObjectSpec,
    Relocation,
    RelocKind,
)

_NAME = re.compile(r"[A-Za-z_.][A-Za-z0-9_.]*")
# Loaders recognise these by prefix, so no section of programs may begin with one.
_TAKEN_PREFIXES = ("license", "version", "maps", ".")
_DATA_PREFIXES = (".data", ".rodata", ".bss")
_MEMORY_CLASSES = (Class.LDX, Class.ST, Class.STX)
_ALU_CLASSES = (Class.ALU, Class.ALU64)
_CALLS = (RelocKind.CALL, RelocKind.KFUNC)
_ANONYMOUS_KINDS = (btf.Struct, btf.Union, btf.Enum, btf.Enum64)


def _bug(message: str, function: str = "") -> InternalError:
    return InternalError(message, phase="ELF writer", function=function)


def check_object(spec: ObjectSpec) -> None:
    """Raise ``InternalError`` if ``spec`` breaks a rule of its own or of the loaders."""
    _check_names(spec)
    for name, program in spec.programs.items():
        if program.section.startswith(_TAKEN_PREFIXES) or not program.section:
            raise _bug(f"a program in section {program.section!r}", name)
        if program.linkage is not Linkage.GLOBAL:
            raise _bug("an entry point that cannot be seen from outside", name)
    for name, function in spec.functions.items():
        if function.section != ".text":
            raise _bug(f"a subprogram in section {function.section!r}", name)
    everything: list[FunctionSpec] = [*spec.programs.values(), *spec.functions.values()]
    for function in everything:
        _check_function(spec, function)
    if any(f.lines for f in everything):
        for function in everything:
            if not function.lines or function.lines[0].slot != 0:
                raise _bug(
                    "no line information at the first instruction, though others have some", function.name
                )
    for section in spec.data.values():
        _check_data(section)


def _check_names(spec: ObjectSpec) -> None:
    tables = spec.programs, spec.functions, spec.maps, spec.externs
    seen: set[str] = set()
    for table in tables:
        for key, entry in table.items():
            if key != entry.name:
                raise _bug(f"{entry.name!r} is listed as {key!r}")
    variables = (v.name for section in spec.data.values() for v in section.variables if not v.static)
    for name in [*(name for table in tables for name in table), *variables]:
        if not _NAME.fullmatch(name):
            raise _bug(f"{name!r} cannot be the name of a symbol")
        if name in seen:
            raise _bug(f"two symbols are called {name!r}")
        seen.add(name)


def instruction_slots(code: bytes) -> Iterator[int]:
    """The slot of each instruction in ``code``, without the second halves of ``ld_imm64``."""
    slot = 0
    while slot * SLOT_BYTES < len(code):
        yield slot
        slot += 2 if code[slot * SLOT_BYTES] == LD_IMM64 else 1


def _check_function(spec: ObjectSpec, function: FunctionSpec) -> None:
    name, code = function.name, function.code
    if not code or len(code) % SLOT_BYTES:
        raise _bug(f"{len(code)} bytes of code", name)
    starts = set(instruction_slots(code))
    if max(starts) + (2 if code[max(starts) * SLOT_BYTES] == LD_IMM64 else 1) != len(code) // SLOT_BYTES:
        raise _bug("the last instruction is cut off", name)
    _check_order("relocations", (r.slot for r in function.relocations), starts, name)
    _check_order("line information", (line.slot for line in function.lines), starts, name)
    _check_order("CO-RE records", (c.slot for c in function.core), starts, name)
    for relocation in function.relocations:
        _check_relocation(spec, function, relocation)
    for core in function.core:
        _check_core(spec, function, core)
    if function.type is not None:
        params = function.type.proto.params
        if any(not p.name or p.type is None for p in params):
            raise _bug(f"the type {function.type!r} has a parameter without name or type", name)


def _check_order(what: str, slots: Iterable[int], starts: set[int], name: str) -> None:
    last = -1
    for slot in slots:
        if slot not in starts:
            raise _bug(f"{what}: slot {slot} is no instruction", name)
        if slot <= last:
            raise _bug(f"{what}: slot {slot} comes after {last}", name)
        last = slot


def _check_relocation(spec: ObjectSpec, function: FunctionSpec, relocation: Relocation) -> None:
    at = relocation.slot * SLOT_BYTES
    code = function.code[at : at + 2 * SLOT_BYTES]
    little = spec.little_endian
    source = code[1] >> 4 if little else code[1] & 15
    if relocation.kind in _CALLS:
        normal = code[0] == CALL and source == CallKind.SUBPROGRAM and code[2:8] == b"\0\0\xff\xff\xff\xff"
    else:
        normal = code[0] == LD_IMM64 and source == 0 and not any(code[2:])
    if not normal:
        raise _bug(f"{relocation} at an instruction that is not in normal form: {code.hex()}", function.name)
    match relocation.kind:
        case RelocKind.MAP:
            known = relocation.symbol in spec.maps
        case RelocKind.CALL:
            known = relocation.symbol in spec.functions
        case RelocKind.FUNC:
            target = spec.functions.get(relocation.symbol)
            known = target is not None and target.linkage is Linkage.STATIC
        case RelocKind.KFUNC | RelocKind.EXTERN:
            known = relocation.symbol in spec.externs
        case RelocKind.DATA:
            section = spec.data.get(relocation.section)
            known = section is not None and 0 <= data_offset(section, relocation) <= len(section.contents)
    if not known:
        raise _bug(f"{relocation} refers to nothing", function.name)


def _check_core(spec: ObjectSpec, function: FunctionSpec, core: CoreRelocation) -> None:
    """Loaders refuse a CO-RE record whose instruction does not hold the value for the program's own types."""
    at = core.slot * SLOT_BYTES
    order = "<" if spec.little_endian else ">"
    opcode, _, offset, imm = struct.unpack_from(order + "BBhi", function.code, at)
    if opcode == LD_IMM64:
        (high,) = struct.unpack_from(order + "i", function.code, at + 12)
        holds = high << 32 | imm & 0xFFFF_FFFF
    elif opcode & 7 in _MEMORY_CLASSES:
        holds = offset
    elif opcode & 7 in _ALU_CLASSES and not opcode & Source.X:
        holds = imm
    else:
        raise _bug(f"{core} at an instruction that takes none", function.name)
    try:
        value = local_value(CoreKind(core.kind), core.type, core.access)
    except (btf.BtfError, ValueError) as error:
        raise _bug(f"{core}: {error}", function.name) from error
    if value is not None and value != holds:
        raise _bug(f"{core}: the instruction holds {holds}, the program's types say {value}", function.name)


def data_offset(section: DataSection, relocation: Relocation) -> int:
    """Where in ``section`` the DATA ``relocation`` points, in bytes; -1 if its variable does not exist."""
    if not relocation.symbol:
        return relocation.addend
    variable = section.variable(relocation.symbol)
    return -1 if variable is None else variable.offset + relocation.addend


def _check_data(section: DataSection) -> None:
    if not section.name.startswith(_DATA_PREFIXES) or not _NAME.fullmatch(section.name):
        raise _bug(f"a data section called {section.name!r}")
    if section.name.startswith(".bss") and any(section.contents):
        raise _bug(f"section {section.name} is not all zero")
    end = 0
    for variable in sorted(section.variables, key=lambda v: v.offset):
        if variable.offset < end or variable.size <= 0:
            raise _bug(
                f"variable {variable.name!r} at {variable.offset} of {section.name} overlaps another one"
            )
        end = variable.offset + variable.size
        if end > len(section.contents):
            raise _bug(f"variable {variable.name!r} ends at {end}, section {section.name} before")
        if variable.type is not None and btf.size_of(variable.type) > variable.size:
            raise _bug(f"variable {variable.name!r} has {variable.size} bytes, its type more")


def check_types(types: Iterable[btf.Type]) -> None:
    """Raise ``InternalError`` for a type whose names the kernel would refuse."""
    for type_ in types:
        names: list[str] = []
        match type_:
            case btf.Struct(members=members) | btf.Union(members=members):
                names = [m.name for m in members if m.name]
                last = 0
                for member in members:
                    if member.bit_offset < last:
                        raise _bug(f"the members of {type_!r} are not in the order of their offsets")
                    last = member.bit_offset if isinstance(type_, btf.Struct) else 0
            case btf.Enum(values=values) | btf.Enum64(values=values):
                names = [v.name for v in values]
            case btf.FuncProto(params=params):
                names = [p.name for p in params if p.name]
            case btf.Typedef() | btf.Fwd() | btf.Func() | btf.Var():
                names = [type_.name]
        if isinstance(type_, _ANONYMOUS_KINDS) and type_.name:
            names.append(type_.name)
        for name in names:
            if not _NAME.fullmatch(name):
                raise _bug(f"{name!r} in {type_!r} is no name for the kernel")
