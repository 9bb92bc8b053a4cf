"""Pieces of attaching that need no kernel: attributes, descriptions of events, symbols, notes, configuration."""

from __future__ import annotations

import ctypes
import errno
import os
import struct
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as some

from pyebpf import btf
from pyebpf.btf.encode import encode
from pyebpf.runtime import attrs_tracing as attrs
from pyebpf.runtime import (
    binaries,
    event_format,
    info,
    kernel_modules,
    kernel_symbols,
    listing,
    syscall,
)
from pyebpf.runtime.attach import multi
from pyebpf.runtime.attach import targets as attach_targets
from pyebpf.runtime.attach.kprobe import event_place
from pyebpf.runtime.attach.targets import (
    check_kernel_function,
    explain_kprobe,
    explain_trampoline,
)
from pyebpf.runtime.attrs import LinkInfo, ProgInfo
from pyebpf.runtime.errors import ENOTSUPP, BpfError, PermissionDenied, Phase, Problem, TargetError
from pyebpf.runtime.event_format import EventField, Location
from pyebpf.runtime.fd import Fd
from pyebpf.runtime.kernel_symbols import KernelSymbols
from pyebpf.runtime.program import LoadedProgram, require_program
from pyebpf.runtime.usdt_notes import REGISTERS, parse_arguments
from pyebpf.uapi.constants import AttachType, BpfCmd, ProgType

HEAD = "prog_fd 0 target_fd 4 attach_type 8 flags 12"
OFFSETS: dict[type[ctypes.Structure], str] = {
    attrs.LinkCreatePerf: f"{HEAD} bpf_cookie 16",
    attrs.LinkCreateTraced: f"{HEAD} target_btf_id 16 cookie 24",
    attrs.LinkCreateIter: f"{HEAD} iter_info 16 iter_info_len 24",
    attrs.LinkCreateKprobes: f"{HEAD} multi_flags 16 cnt 20 syms 24 addrs 32 cookies 40",
    attrs.LinkCreateUprobes: f"{HEAD} path 16 offsets 24 ref_ctr_offsets 32 cookies 40 cnt 48 multi_flags 52 pid 56",
    attrs.RawTracepointOpen: "name 0 prog_fd 8 cookie 16",
    attrs.IterCreate: "link_fd 0 flags 4",
    attrs.IterTask: "tid 0 pid 4 pid_fd 8",
    attrs.IterCgroup: "order 0 cgroup_fd 4 cgroup_id 8",
    attrs.PerfEventAttr: """type 0 size 4 config 8 sample_period 16 sample_type 24 read_format 32 wakeup_events 48
        bp_type 52 config1 56 config2 64 branch_sample_type 72 sample_regs_user 80 sample_stack_user 88 clockid 92
        sample_regs_intr 96 aux_watermark 104 sample_max_stack 108""",
    attrs.RawTracepointInfo: "type 0 id 4 prog_id 8 tp_name 16 tp_name_len 24",
    attrs.TracingInfo: "type 0 id 4 prog_id 8 attach_type 16 target_obj_id 20 target_btf_id 24",
    attrs.IterLinkInfo: "type 0 id 4 prog_id 8 target_name 16 target_name_len 24 extra 28",
    attrs.PerfInfo: "type 0 id 4 prog_id 8 perf_type 16 name 24 name_len 32 offset 36",
}


@pytest.mark.parametrize("structure", OFFSETS, ids=lambda structure: structure.__name__)
def test_fields_lie_where_the_kernel_has_them(structure: type[ctypes.Structure]) -> None:
    words = OFFSETS[structure].split()
    for name, offset in zip(words[::2], words[1::2], strict=True):
        assert getattr(structure, name).offset == int(offset), name


def test_sizes_that_the_kernel_knows() -> None:
    assert ctypes.sizeof(attrs.PerfEventAttr) == 112
    assert ctypes.sizeof(attrs.IterInfo) == 16
    assert syscall._size(attrs.RawTracepointOpen(1, 2)) == 16
    assert syscall._size(attrs.LinkCreatePerf(1, 2, 3)) == 16


@pytest.mark.parametrize(
    ("flag", "bit"),
    [
        ("disabled", 0),
        ("inherit", 1),
        ("pinned", 2),
        ("exclude_user", 4),
        ("exclude_kernel", 5),
        ("freq", 10),
    ],
)
def test_flags_of_events_are_the_right_bits(flag: str, bit: int) -> None:
    (found,) = struct.unpack_from("=Q", bytes(attrs.PerfEventAttr(**{flag: 1})), 40)
    assert found == 1 << bit


# ---------------------------------------------------------------- descriptions of events


def field(line: str) -> EventField:
    return event_format._field(line, False)


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("field:int x;\toffset:8;\tsize:4;\tsigned:1;", ("x", "int", 8, 4, True, 0, Location.INLINE)),
        (
            "field:char comm[16];\toffset:8;\tsize:16;\tsigned:0;",
            ("comm", "char", 8, 16, False, 16, Location.INLINE),
        ),
        (
            "field:char comm[TASK_COMM_LEN];\toffset:8;\tsize:16;\tsigned:1;",
            ("comm", "char", 8, 16, True, 16, Location.INLINE),
        ),
        (
            "field:__data_loc char[] name;\toffset:8;\tsize:4;\tsigned:1;",
            ("name", "char", 8, 4, True, None, Location.DATA_LOC),
        ),
        (
            "field:__rel_loc cpumask_t mask[];\toffset:8;\tsize:4;\tsigned:0;",
            ("mask", "cpumask_t", 8, 4, False, None, Location.REL_LOC),
        ),
        (
            "field:const char * filename;\toffset:24;\tsize:8;\tsigned:0;",
            ("filename", "const char *", 24, 8, False, 0, Location.INLINE),
        ),
        (
            "field:struct a b[2][3];\toffset:0;\tsize:48;\tsigned:0;",
            ("b", "struct a", 0, 48, False, 6, Location.INLINE),
        ),
        ("field:u32 old;\toffset:4;\tsize:4;", ("old", "u32", 4, 4, False, 0, Location.INLINE)),
        ("field:void (*call)(int);\toffset:4;\tsize:8;\tsigned:0;", None),
    ],
)
def test_fields_are_understood(line: str, expected: tuple[object, ...] | None) -> None:
    if expected is None:
        with pytest.raises(BpfError, match="describes a field as"):
            field(line)
        return
    found = field(line)
    assert (
        found.name,
        found.type,
        found.offset,
        found.size,
        found.signed,
        found.length,
        found.location,
    ) == expected


# ---------------------------------------------------------------- symbols of the kernel

SYMBOLS = """\
ffffffff81000000 T _stext
ffffffff81000000 T startup
ffffffff81000000 t local
ffffffff81000100 t helper.isra.0
ffffffff81000200 t helper.cold
ffffffff81000300 T work
ffffffffc0000000 t work\t[module]
ffffffff82000000 D variable
ffffffff81000400 T __pfx_work
"""


def test_the_list_of_the_kernel() -> None:
    symbols = KernelSymbols(SYMBOLS)
    assert not symbols.hidden
    assert [s.module for s in symbols.find("work")] == ["", "module"]
    assert [s.address for s in symbols.find("module:work")] == [0xFFFFFFFFC0000000]
    assert not symbols.find("variable")[0].code
    assert symbols.variants("helper") == ["helper.isra.0"]
    assert set(symbols.functions()) == {"_stext", "startup", "local", "helper.isra.0", "helper.cold", "work"}
    found = symbols.at(0xFFFFFFFF81000010)
    assert found is not None
    assert (found[0].name, found[1]) == ("startup", 16)
    assert symbols.at(0x1000) is None


def test_only_code_is_in_a_function() -> None:
    base = 0xFFFFFFFF81000000
    symbols = KernelSymbols(
        f"{base:x} T first\n{base + 0x80:x} A number\n{base + 0x100:x} T last\n{base + 0x200:x} T _etext\n"
        f"{base + 0x1000:x} D variable\n{base + 0x1000:x} d alias\n{base + 0x2000:x} t init\n{base + 0x2000:x} D edge\n"
        f"{base + 0x3000:x} t of_module\t[module]\n"
    )

    def name(offset: int) -> str | None:
        found = symbols.at(base + offset)
        return None if found is None else f"{found[0].name}+{found[1]:#x}"

    assert [name(at) for at in (-1, 0, 0xFF, 0x100, 0x1FF)] == [
        None, "first+0x0", "first+0xff", "last+0x0", "last+0xff",
    ]  # fmt: skip
    assert [name(at) for at in (0x200, 0xFFF, 0x1000, 0x1FFF)] == [None] * 4
    assert name(0x2010) == "init+0x10"
    assert (name(0x3010), name(0x10_0000_0000)) == ("of_module+0x10", None)


def test_modules_that_come_later_are_known(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    reads = []
    tables = {"kallsyms": "ffffffff81000000 T work\n", "available_filter_functions": "work\n"}

    def read(name: str) -> str:
        reads.append(name)
        return tables[name]

    modules = tmp_path / "modules"
    monkeypatch.setattr(kernel_symbols, "_MODULES", modules)
    monkeypatch.setattr("pyebpf.runtime.kallsyms.symbols", lambda: read("kallsyms").encode())
    monkeypatch.setattr("pyebpf.runtime.tracefs.read", read)
    for cached in (kernel_symbols._symbols, kernel_symbols._traceable):
        cached.cache_clear()
    try:
        for used in ("first 4096 0 - Live 0x00000000c0000000", "first 4096 2 other, Live 0x00000000c0000000"):
            modules.write_text(used + "\n")
            with pytest.raises(TargetError) as caught:
                check_kernel_function("late", "to it")
            assert caught.value.problem is Problem.UNKNOWN
            assert kernel_symbols.traceable_functions() == frozenset({"work"})
        assert reads == ["kallsyms", "available_filter_functions"]
        modules.write_text(used + "\nlater 4096 0 - Live 0x00000000c0005000\n")
        tables["kallsyms"] += "ffffffffc0005000 t late\t[later]\n"
        tables["available_filter_functions"] += "late [later]\n"
        check_kernel_function("late", "to it")
        check_kernel_function("later:late", "to it")
        assert kernel_symbols.traceable_functions() == frozenset({"work", "late"})
    finally:
        for cached in (kernel_symbols._symbols, kernel_symbols._traceable):
            cached.cache_clear()


def test_probes_are_explained_where_the_kernel_has_no_table_of_symbols(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("pyebpf.runtime.kallsyms.symbols", lambda: None)
    kernel_symbols._symbols.cache_clear()
    try:
        refused = explain_kprobe(BpfError(errno.EILSEQ, Phase.ATTACH), "work", 3, "to it")
    finally:
        kernel_symbols._symbols.cache_clear()
    assert isinstance(refused, TargetError)
    assert refused.problem is Problem.BAD_OFFSET


@pytest.mark.parametrize(
    ("wanted", "chosen"),
    [
        ("work", {"work": 0}),
        ("*o*k", {"work": 0}),
        ("module:work", {"module:work": 0}),
        ({"module:*": 3, "work": 4}, {"module:work": 3, "work": 4}),
        (["module:w*", "module:work"], {"module:work": 0}),
    ],
)
def test_names_of_many_functions(
    wanted: multi.Targets, chosen: dict[str, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    for place in (multi, attach_targets):
        monkeypatch.setattr(place, "kernel_symbols", lambda: KernelSymbols(SYMBOLS))
        # ftrace, which is behind links to many functions, does not know what is forbidden to kprobes
        monkeypatch.setattr(place, "forbidden_functions", lambda: frozenset({"work"}))
    monkeypatch.setattr(multi, "traceable_functions", lambda: frozenset({"work", "startup"}))
    assert multi.expand_functions(wanted) == chosen
    with pytest.raises(TargetError, match="no function of the kernel matches"):
        multi.expand_functions("other:w*")


def test_addresses_of_many_functions(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(multi, "kernel_symbols", lambda: KernelSymbols(SYMBOLS))
    wanted = {"work": 1, "module:work": 2, "startup": 3, "local": 4}
    assert multi.addresses(wanted) == {
        0xFFFFFFFF81000300: 1,
        0xFFFFFFFFC0000000: 2,
        0xFFFFFFFF81000000: 3,
    }
    monkeypatch.setattr(multi, "kernel_symbols", lambda: KernelSymbols("0 T work\n"))
    with pytest.raises(PermissionDenied):
        multi.addresses({"work": 0})


@pytest.mark.parametrize(
    ("function", "offset", "place"),
    [
        ("work", 0, "work"),
        ("module:work", 16, "module:work+0x10"),
        (0xFFFF, 0, "0xffff"),
        (0xFFFF, 1, "0x10000"),
    ],
)
def test_places_of_probes_in_tracefs(function: str | int, offset: int, place: str) -> None:
    assert event_place(function, offset) == place


@pytest.mark.parametrize(
    ("name", "code", "told"),
    [
        ("drivers:work", errno.EBUSY, None),
        ("drivers:hidden", errno.EBUSY, "'hidden' is not in available_filter_functions"),
        ("hidden", ENOTSUPP, "'hidden' is not in available_filter_functions"),
        ("hidden", errno.E2BIG, None),
    ],
)
def test_trampolines_are_explained(
    name: str, code: int, told: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(attach_targets, "traceable_functions", lambda: frozenset({"work"}))
    monkeypatch.setattr(
        attach_targets, "ask", lambda fd, info: ProgInfo(attach_btf_obj_id=7, attach_btf_id=9)
    )
    monkeypatch.setattr(kernel_modules, "type_name", lambda types, number: {(7, 9): name}[types, number])
    refused = BpfError(code, Phase.ATTACH)
    with LoadedProgram(Fd(os.open(os.devnull, os.O_RDONLY)), "p", ProgType.TRACING) as program:
        explained = explain_trampoline(refused, program, "to it")
    assert explained.errno == code
    if told is None:
        assert explained is refused
    else:
        assert isinstance(explained, TargetError)
        assert told in str(explained)


# ---------------------------------------------------------------- where links are attached


@pytest.mark.parametrize(
    ("own", "target"),
    [
        (ProgInfo(type=ProgType.TRACING, attach_btf_id=2, attach_btf_obj_id=7), "drivers:second"),
        (ProgInfo(type=ProgType.TRACING, attach_btf_id=1, attach_btf_obj_id=0), "program 7 second"),
        (ProgInfo(type=ProgType.EXT), "program 7 second"),
        (ProgInfo(type=ProgType.TRACING), "drivers:second"),  # before Linux 6.0 programs tell neither number
    ],
)
def test_numbers_of_targets_are_of_programs_or_of_the_kernels_types(
    own: ProgInfo, target: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    types = encode([btf.Func(name, btf.FuncProto(None)) for name in ("first", "second")]).data
    spec = btf.Spec(types)
    link = attrs.TracingInfo(prog_id=3, target_obj_id=7, target_btf_id=spec.ids("second")[0])
    infos = {(BpfCmd.PROG_GET_FD_BY_ID, 3): own, (BpfCmd.PROG_GET_FD_BY_ID, 7): ProgInfo(btf_id=5)}
    asked: list[tuple[BpfCmd, int]] = []

    def by_id(opening: BpfCmd, number: int, subject: str = "") -> Fd:
        asked.append((opening, number))
        return Fd(os.open(os.devnull, os.O_RDONLY))

    monkeypatch.setattr(listing, "open_by_id", by_id)
    monkeypatch.setattr(listing, "ask", lambda fd, info: infos[asked[-1]])
    monkeypatch.setattr(listing, "btf_bytes", {5: types}.__getitem__)
    monkeypatch.setattr(kernel_modules, "bpf_fd", lambda *args, need: by_id(*args[:2]))
    monkeypatch.setattr(kernel_modules, "btf_name", lambda fd: "drivers")
    monkeypatch.setattr(kernel_modules, "module_types", {"drivers": spec}.__getitem__)
    assert listing._traced(link) == target


def test_a_link_of_a_newer_kernel_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(info, "ask", lambda fd, wanted: LinkInfo(id=5, type=1000, prog_id=6, target=7))
    with Fd(os.open(os.devnull, os.O_RDONLY)) as fd:
        assert info.link_facts(fd) == info.LinkFacts(5, 1000, 6, 0)


# ---------------------------------------------------------------- files


def test_the_linker_configuration_is_followed(tmp_path: Path) -> None:
    (tmp_path / "conf.d").mkdir()
    (tmp_path / "main.conf").write_text("# comment\ninclude conf.d/*.conf\n/first # why\n")
    (tmp_path / "conf.d/a.conf").write_text("/second\n")
    (tmp_path / "conf.d/b.conf").write_text(f"include {tmp_path}/main.conf\n")  # a circle ends
    found = binaries._configured(str(tmp_path / "main.conf"), 0)
    assert list(dict.fromkeys(found)) == ["/second", "/first"]
    assert binaries._configured(str(tmp_path / "none.conf"), 0) == []


@pytest.mark.parametrize(
    ("name", "path", "same"),
    [
        ("libc", "/lib/libc.so.6", True),
        ("libc.so", "/lib/libc.so.6", True),
        ("libc.so.6", "/lib/libc.so.6", True),
        ("libc", "/lib/libcap.so.2", False),
        ("libc", "/lib/libc-2.31.so", False),
        ("libssl", "/lib/libssl.so", True),
        ("libpython3.11", "/lib/libpython3.11.so.1.0", True),
        ("bash", "/bin/bash", True),
        ("ba", "/bin/bash", False),
    ],
)
def test_names_of_libraries(name: str, path: str, same: bool) -> None:
    assert binaries._is_library(name, path) is same


# ---------------------------------------------------------------- notes


@given(some.text(max_size=60), some.sampled_from(sorted(REGISTERS)))
def test_any_text_gives_arguments(text: str, machine: str) -> None:
    assert len(parse_arguments(text, machine)) == len(parse_arguments(f" {text} ", machine))


def test_registers_are_inside_the_saved_ones() -> None:
    assert all(r.offset + r.size <= 21 * 8 for r in REGISTERS["EM_X86_64"].values())
    assert all(r.offset + r.size <= 32 * 8 for r in REGISTERS["EM_AARCH64"].values())
    x86 = REGISTERS["EM_X86_64"]
    expected = {
        "r15": 0,
        "rbp": 32,
        "rbx": 40,
        "r11": 48,
        "rax": 80,
        "rcx": 88,
        "rdx": 96,
        "rsi": 104,
        "rdi": 112,
        "rsp": 152,
    }
    assert {name: x86[name].offset for name in expected} == expected


# ---------------------------------------------------------------- errors


def test_an_error_about_a_target_says_what_may_have_been_meant() -> None:
    error = TargetError(Problem.UNKNOWN, "to it", detail="there is none", suggestions=("a", "b"))
    assert str(error).endswith("there is none; did you mean a or b?")
    assert error.suggestions == ("a", "b")
    assert isinstance(error, OSError)


def test_programs_are_checked_by_type_and_by_what_they_were_loaded_for() -> None:
    read, write = os.pipe()
    os.close(write)
    with LoadedProgram(Fd(read), "p", ProgType.KPROBE, AttachType.TRACE_KPROBE_MULTI) as program:
        require_program(program, "it", ProgType.KPROBE, attach_types=(AttachType.TRACE_KPROBE_MULTI,))
        with pytest.raises(TypeError, match="'p' is a KPROBE program; it takes XDP or LSM"):
            require_program(program, "it", ProgType.XDP, ProgType.LSM)
        with pytest.raises(TypeError, match="was loaded for TRACE_KPROBE_MULTI; it takes programs for XDP"):
            require_program(program, "it", ProgType.KPROBE, attach_types=(AttachType.XDP,))
