"""Objects that clang makes are understood."""

from __future__ import annotations

import pytest

from pyebpf import btf
from pyebpf.backend.elf import read_object, write_object
from pyebpf.layout import U8, U32, U64, ArrayType, BytesType
from pyebpf.object import Linkage, ObjectSpec, Pinning, Relocation, RelocKind
from pyebpf.uapi.constants import AttachType, MapCreateFlag, MapType, ProgType
from tests.unit.elf.clang import SOURCES, compile_c
from tests.unit.elf.samples import differences


def read(name: str, *flags: str) -> ObjectSpec:
    return read_object(compile_c(name, *flags), f"{name}.o")


def without_slots(relocations: tuple[Relocation, ...]) -> set[tuple[RelocKind, str, str, int]]:
    return {(r.kind, r.symbol, r.section, r.addend) for r in relocations}


def test_programs() -> None:
    spec = read("data")
    first, waiting = spec.programs["first"], spec.programs["waiting"]
    assert (first.section, first.prog_type, first.attach_type) == ("xdp", ProgType.XDP, AttachType.XDP)
    assert (waiting.section, waiting.prog_type, waiting.attach_type) == ("tc", ProgType.SCHED_CLS, None)
    assert first.autoload and not waiting.autoload
    assert spec.license == "Dual BSD/GPL"
    assert first.type is not None and btf.describe(first.type) == "first: int (void *)"
    assert first.lines[0].slot == 0 and "int first" in first.lines[0].text


def test_maps() -> None:
    maps = read("data").maps
    hashed, sized, ring = maps["hashed"], maps["sized"], maps["ring"]
    assert (hashed.type, hashed.key_size, hashed.value_size, hashed.max_entries) == (MapType.HASH, 12, 8, 64)
    assert (hashed.flags, hashed.pinning) == (MapCreateFlag.NO_PREALLOC, Pinning.BY_NAME)
    assert hashed.key is not None and [f.name for f in hashed.key.fields] == ["a", "b", "name"]  # type: ignore[union-attr]  # a struct
    assert hashed.value == U64
    assert (sized.type, sized.key_size, sized.value_size, sized.key) == (MapType.ARRAY, 4, 16, None)
    assert (ring.type, ring.key_size, ring.max_entries) == (MapType.RINGBUF, 0, 4096)


def test_data() -> None:
    spec = read("data")
    found = {
        name: {(v.name, v.offset, v.size, v.layout, v.static) for v in section.variables}
        for name, section in spec.data.items()
    }
    assert found[".data"] == {("exposed", 0, 4, U32, False), ("private", 8, 8, U64, True)}
    assert found[".bss"] == {("counters", 0, 32, ArrayType(U64, 4), False)}
    assert found[".rodata"] == {("setting", 0, 1, U8, False), ("text", 1, 10, BytesType(10), True)}
    assert bytes(spec.data[".data"].contents) == bytes((5, 0, 0, 0, 0, 0, 0, 0, 6, 0, 0, 0, 0, 0, 0, 0))
    assert bytes(spec.data[".bss"].contents) == bytes(32)
    assert spec.data[".rodata"].read_only
    assert without_slots(spec.programs["first"].relocations) == {
        (RelocKind.MAP, "hashed", "", 0),
        (RelocKind.DATA, "exposed", ".data", 0),
        (RelocKind.DATA, "counters", ".bss", 0),
        (RelocKind.DATA, "setting", ".rodata", 0),
        (RelocKind.DATA, "", ".data", 8),
        (RelocKind.DATA, "", ".rodata", 1),
    }


@pytest.mark.parametrize("flags", [(), ("-mcpu=v2",), ("-target", "bpfeb")])
def test_calls(flags: tuple[str, ...]) -> None:
    spec = read("calls", *flags)
    assert {f.name: f.linkage for f in spec.functions.values()} == {
        "third": Linkage.STATIC,
        "half": Linkage.STATIC,
        "body": Linkage.STATIC,
        "hidden_one": Linkage.STATIC,
        "open_to_all": Linkage.GLOBAL,
    }
    for function in spec.functions.values():
        assert function.type is not None and function.type.linkage.name == function.linkage.name
    assert without_slots(spec.programs["calls"].relocations) == {
        (RelocKind.FUNC, "body", "", 0),
        (RelocKind.CALL, "half", "", 0),
        (RelocKind.CALL, "open_to_all", "", 0),
        (RelocKind.CALL, "hidden_one", "", 0),
    }
    assert without_slots(spec.functions["half"].relocations) == {(RelocKind.CALL, "third", "", 0)}


def test_code_has_its_normal_form() -> None:
    spec = read("calls")
    for function in [*spec.programs.values(), *spec.functions.values()]:
        for relocation in function.relocations:
            insn = function.code[relocation.slot * 8 : relocation.slot * 8 + 16]
            if relocation.kind is RelocKind.CALL:
                assert insn[:8] == bytes.fromhex("85100000ffffffff")
            else:
                assert insn[0] == 0x18 and insn[1] < 16 and not any(insn[2:])


def test_initial_values_of_tables() -> None:
    maps = read("tables").maps
    assert maps["chain"].slots == {0: "one", 2: "two"} and maps["chain"].inner is None
    assert maps["outer"].slots == {0: "b", 1: "a"}
    inner = maps["outer"].inner
    assert inner is not None
    assert (inner.name, inner.type, inner.max_entries, inner.value) == ("outer.inner", MapType.ARRAY, 2, U64)
    assert maps["chain"].value_size == maps["outer"].value_size == 4


def test_what_the_kernel_has_to_say() -> None:
    spec = read("kernel")
    shown = {(e.name, e.section, e.weak, btf.describe(e.type)) for e in spec.externs.values()}
    assert shown == {
        ("LINUX_KERNEL_VERSION", ".kconfig", False, "int"),
        ("CONFIG_BPF_JIT", ".kconfig", True, "_Bool"),
        ("init_task", ".ksyms", True, "const void"),
        ("bpf_strcmp", ".ksyms", True, "bpf_strcmp: int (const char *, const char *)"),
    }
    fields, compare = spec.programs["fields"], spec.programs["compare"]
    kinds = {r.symbol: r.kind for r in fields.relocations}
    assert kinds == dict.fromkeys(("LINUX_KERNEL_VERSION", "CONFIG_BPF_JIT", "init_task"), RelocKind.EXTERN)
    assert {(btf.describe(c.type), c.access, c.kind) for c in fields.core} == {
        ("struct sk_buff", "0:0", 0),
        ("struct sk_buff", "0:1", 2),
        ("struct iphdr", "0:1:1:2", 0),
    }
    assert without_slots(compare.relocations) == {
        (RelocKind.DATA, "", ".rodata.str1.1", 0),
        (RelocKind.DATA, "", ".rodata.str1.1", 2),
        (RelocKind.KFUNC, "bpf_strcmp", "", 0),
    }


def test_tables_of_operations() -> None:
    spec = read("operations")
    mine = spec.maps["mine"]
    assert mine.type is MapType.STRUCT_OPS and mine.flags == MapCreateFlag.LINK
    assert btf.describe(mine.value_type) == "struct tcp_congestion_ops"
    assert mine.slots == {8: "my_ssthresh", 16: "my_avoid", 24: "my_undo"}
    assert mine.contents == bytes((0, 0, 0, 0, 1)) + bytes(27) + b"mine" + bytes(12)
    assert {p.prog_type for p in spec.programs.values()} == {ProgType.STRUCT_OPS}


def test_without_type_information() -> None:
    spec = read_object(compile_c("calls", "-g0"))
    assert spec.programs["calls"].type is None and spec.functions.keys() == read("calls").functions.keys()


@pytest.mark.parametrize("name", SOURCES)
def test_what_clang_made_can_be_written(name: str) -> None:
    spec = read(name)
    back = read_object(write_object(read(name)))
    for section in spec.data.values():
        # A variable without section in the types (a string constant) is nothing to users.
        section.variables = [v for v in section.variables if v.name]
    found = [line for line in differences(spec, back) if ".key" not in line and ".value" not in line]
    assert found == []
