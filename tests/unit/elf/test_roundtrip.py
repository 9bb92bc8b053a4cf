"""What is written is what is read, up to what ``pyebpf.backend.elf`` says is lost."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import pytest

from pyebpf import btf
from pyebpf.backend.elf import describe_object, describe_types, object_types, read_object, write_object
from pyebpf.backend.elf_maps import described_types
from pyebpf.object import DataSection, Extern, MapSpec, ObjectSpec, Relocation, RelocKind, Variable
from tests.unit.elf.samples import Code, differences, externs, full, minimal, tables

SAMPLES = [minimal, full, tables, externs, lambda: minimal(False), lambda: full(False), ObjectSpec]
Sample = Callable[[], ObjectSpec]


def normal(spec: ObjectSpec) -> ObjectSpec:
    """``spec`` as the reader gives it back."""
    for function in [*spec.programs.values(), *spec.functions.values()]:
        function.relocations = tuple(_normal_relocation(spec, r) for r in function.relocations)
        if function.type is None:
            params = (btf.Param("ctx", btf.Ptr(None)),) if function.name in spec.programs else ()
            linkage = btf.FuncLinkage[function.linkage.name]
            function.type = btf.Func(function.name, btf.FuncProto(btf.INT, params), linkage)
    for entry in list(spec.maps.values()):
        _normal_map(entry)
        if entry.inner is not None:
            _normal_map(entry.inner)
    for section in spec.data.values():
        for variable in section.variables:
            if variable.layout is not None and variable.type is None:
                variable.type = btf.from_layout(variable.layout)
    return spec


def _normal_map(spec: MapSpec) -> None:
    types = described_types(spec)
    spec.key_type, spec.value_type = types or (None, None)
    spec.key, spec.value = btf.layout_of(spec.key_type), btf.layout_of(spec.value_type)


def _normal_relocation(spec: ObjectSpec, relocation: Relocation) -> Relocation:
    if relocation.kind is not RelocKind.DATA or not relocation.symbol:
        return relocation
    variable = spec.data[relocation.section].variable(relocation.symbol)
    assert variable is not None
    if not variable.static and relocation.addend == 0:
        return relocation
    return dataclasses.replace(relocation, symbol="", addend=variable.offset + relocation.addend)


def without_struct_layouts(spec: ObjectSpec) -> ObjectSpec:
    """Struct layouts are equal by identity only; their BTF is compared, so they may go."""
    for entry in spec.maps.values():
        entry.key = entry.value = None
        if entry.inner is not None:
            entry.inner.key = entry.inner.value = None
    return spec


@pytest.mark.parametrize("sample", SAMPLES)
def test_reading_gives_back_what_was_written(sample: Sample) -> None:
    back = read_object(write_object(sample()), "sample.o")
    assert differences(without_struct_layouts(normal(sample())), without_struct_layouts(back)) == []


@pytest.mark.parametrize("sample", SAMPLES)
def test_writing_is_deterministic_and_stable(sample: Sample) -> None:
    data = write_object(sample())
    assert data == write_object(sample())
    again = write_object(read_object(data))
    assert write_object(read_object(again)) == again


def test_struct_layouts_come_back_with_names_and_offsets() -> None:
    key = read_object(write_object(full())).maps["flows"].key
    assert key is not None and key.name == "flow"
    assert [(f.name, f.offset, f.layout.name) for f in key.fields] == [  # type: ignore[union-attr]  # a struct
        ("port", 0, "u16"),
        ("address", 4, "u32"),
        ("name", 8, "chars(6)"),
        ("id", 16, "u64"),
    ]


def test_a_reference_into_a_variable_goes_through_its_section() -> None:
    spec = full()
    code = Code().load(1, RelocKind.DATA, "seen", ".bss", 8).exit(2)
    spec.programs["count"].relocations = tuple(code.relocations)
    spec.programs["count"].code, spec.programs["count"].lines = bytes(code.data), tuple(code.lines)
    (found,) = read_object(write_object(spec)).programs["count"].relocations
    assert found == Relocation(0, RelocKind.DATA, "", ".bss", 8)


def test_a_private_variable_may_be_called_like_a_map() -> None:
    spec = full()
    spec.data[".rodata"].variables[0].name = "flows"
    back = read_object(write_object(spec))
    assert Relocation(4, RelocKind.MAP, "flows") in back.programs["count"].relocations
    assert back.data[".rodata"].variables[0].name == "flows"


def test_the_symbol_of_the_license_avoids_names_of_the_user() -> None:
    spec = minimal()
    spec.externs["_license"] = Extern("_license", ".kconfig", btf.INT)
    spec.data[".data"] = DataSection(".data", bytearray(4), [Variable("__license", 0, 4)])
    text = describe_object(write_object(spec))
    assert "    ___license: global object in license at 0, 4 bytes" in text
    assert "    __license: global object in .data at 0, 4 bytes" in text


def test_text_of_an_object() -> None:
    assert describe_object(write_object(tables())) == TABLES_TEXT


def test_types_of_an_object_are_those_in_the_file() -> None:
    assert object_types(full()) == describe_types(write_object(full()))
    assert "DATASEC .maps size" in object_types(full())


TABLES_TEXT = """\
section socket PROGBITS 32 bytes, ALLOC|EXECINSTR
section ?socket PROGBITS 48 bytes, ALLOC|EXECINSTR
    0x0000 R_BPF_64_64 chain
    0x0010 R_BPF_64_64 outer
section license PROGBITS 4 bytes, WRITE|ALLOC
section .maps PROGBITS 200 bytes, WRITE|ALLOC
    0x0020 R_BPF_64_ABS64 first
    0x0048 R_BPF_64_ABS64 second
    0x0098 R_BPF_64_ABS64 left
section .BTF PROGBITS 1425 bytes, none
section .BTF.ext PROGBITS 224 bytes, none
symbols
    first: global func in socket at 0, 16 bytes
    second: global func in socket at 16, 16 bytes
    later: global func in ?socket at 0, 48 bytes
    _license: global object in license at 0, 4 bytes
    chain: global object in .maps at 0, 80 bytes
    left: global object in .maps at 80, 32 bytes
    outer: global object in .maps at 112, 48 bytes
    kept: global object in .maps at 160, 40 bytes
"""
