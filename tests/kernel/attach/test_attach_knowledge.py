"""What is known of hooks, symbols and what is loaded, against the running kernel and this process."""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from pyebpf import btf
from pyebpf.near_names import near
from pyebpf.runtime import elf_symbols
from pyebpf.runtime import kernel_symbols as kernel
from pyebpf.runtime.attach.iterator import attach_iter
from pyebpf.runtime.attach.tracepoint import attach_raw_tracepoint, attach_tracepoint
from pyebpf.runtime.attach.uprobe import attach_uprobe
from pyebpf.runtime.availability import Way, obstacle
from pyebpf.runtime.binaries import find_binary, mappings
from pyebpf.runtime.elf_symbols import open_binary
from pyebpf.runtime.errors import BpfError, PermissionDenied, Problem, TargetError
from pyebpf.runtime.event_format import Location, event_format
from pyebpf.runtime.hooks import HookArgument, HookKind, hooks_for
from pyebpf.runtime.info import kernel_release
from pyebpf.runtime.kernel_names import ITERATOR, LSM_HOOK, RAW_TRACEPOINT, targets
from pyebpf.runtime.kernel_symbols import KernelSymbols, kernel_symbols
from pyebpf.runtime.listing import (
    RunStatistics,
    loaded_links,
    loaded_maps,
    loaded_programs,
    run_statistics,
    statistics,
)
from pyebpf.runtime.symbols import Symbol, symbolize_kernel, symbolize_user
from pyebpf.runtime.tracefs import event_id
from pyebpf.uapi.constants import AttachType, LinkType, MapType, ProgType
from tests.kernel.attach.programs import btf_id, counting, load_traced, loaded, member_offset, writes_field
from tests.kernel.attach.test_attach_perf import LIBC, nothing_left

# ---------------------------------------------------------------- tracefs


def test_the_record_of_an_event() -> None:
    described = event_format("sched", "sched_process_exec")
    assert described.id == event_id("sched", "sched_process_exec")
    by_name = {field.name: field for field in described.fields}
    assert [f.name for f in described.fields if f.common][:2] == ["common_type", "common_flags"]
    name = by_name["filename"]
    assert (name.type, name.size, name.length, name.location) == ("char", 4, None, Location.DATA_LOC)
    assert (by_name["pid"].type, by_name["pid"].size, by_name["pid"].signed) == ("pid_t", 4, True)
    assert not by_name["pid"].common
    array = event_format("raw_syscalls", "sys_enter").field("args")
    assert array is not None
    assert (array.type, array.length, array.size) == ("unsigned long", 6, 48)


def test_every_event_of_the_kernel_is_understood() -> None:
    from pyebpf.runtime.tracefs import categories, events

    seen = 0
    for category in [c for c in categories() if c not in ("ftrace",)]:
        for name in events(category):
            for field in event_format(category, name).fields:
                assert field.type
                assert "[" not in field.type
                assert not field.length or field.size % field.length == 0
            seen += 1
    assert seen > 500


# ---------------------------------------------------------------- symbols


def test_symbols_of_the_kernel() -> None:
    symbols = kernel_symbols()
    (found,) = [s for s in symbols.find("vfs_read") if s.code]
    assert symbolize_kernel([found.address + 5, 1]) == [
        Symbol(found.address + 5, "vfs_read", 5, ""),
        Symbol(1, "", 0, ""),
    ]
    assert str(symbolize_kernel([found.address])[0]) == "vfs_read+0x0"
    assert symbols.find("no_such_function") == []
    assert symbols.find("no_such_module:vfs_read") == []
    assert len(symbols.functions()) > 10_000


def test_hidden_addresses_are_an_error_and_names_are_still_known(monkeypatch: pytest.MonkeyPatch) -> None:
    symbols = KernelSymbols("0000000000000000 T vfs_read\n0000000000000000 t helper\t[module]\n")
    assert symbols.hidden
    assert [s.module for s in symbols.find("helper")] == ["module"]
    assert symbols.find("module:helper") == symbols.find("helper")
    monkeypatch.setattr(kernel, "kernel_symbols", lambda: symbols)
    monkeypatch.setattr("pyebpf.runtime.symbols.kernel_symbols", lambda: symbols)
    with pytest.raises(PermissionDenied, match=r"kernel\.kptr_restrict is \d"):
        symbolize_kernel([1])


def test_addresses_of_this_process_have_names() -> None:
    address = ctypes.cast(LIBC.getppid, ctypes.c_void_p).value
    assert address is not None
    first, second, nothing = symbolize_user(os.getpid(), [address, address + 3, 16])
    assert (first.name, first.offset) == ("getppid", 0)
    assert (second.name, second.offset) == ("getppid", 3)
    assert "libc" in first.module
    assert (nothing.name, nothing.module) == ("", "")
    vdso = next(m for m in mappings(os.getpid()) if m.path == "[vdso]")
    assert symbolize_user(os.getpid(), [vdso.start + 8])[0].module == "[vdso]"


def test_addresses_of_another_process_and_of_a_file_that_is_gone(tmp_path: Path) -> None:
    copy = tmp_path / "libgone.so"
    copy.write_bytes(Path(find_binary("libc")).read_bytes())
    script = (
        "import ctypes, os, sys; lib = ctypes.CDLL(sys.argv[1]); os.unlink(sys.argv[1]);"
        "print(ctypes.cast(lib.getppid, ctypes.c_void_p).value, flush=True); sys.stdin.read()"
    )
    command = [sys.executable, "-c", script, str(copy)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        address = int(child.stdout.readline())
        (found,) = symbolize_user(child.pid, [address + 1])
        child.communicate()
    assert (found.name, found.offset) == ("getppid", 1)
    with pytest.raises(BpfError) as caught:
        symbolize_user(child.pid, [address])
    assert caught.value.errno == 3  # ESRCH


def test_symbols_of_a_binary(tmp_path: Path) -> None:
    libc = open_binary(find_binary("libc"))
    assert open_binary(libc.path) is libc
    default = libc.find("memcpy")
    old = libc.find("memcpy@GLIBC_2.2.5")
    assert default.version == "GLIBC_2.14"
    assert default.default
    assert not old.default
    assert default.address != old.address
    assert libc.find("memcpy@@GLIBC_2.14") == default
    offset = libc.file_offset(old.address)
    assert offset is not None
    assert libc.address(offset) == old.address
    found = libc.at(old.address + 1)
    assert found is not None
    assert found[1] == 1
    for contents in (b"", b"\x7fELF", b"\x7fELF" + bytes(200), b"\x7fELF\x02\x01\x01" + b"\xff" * 200):
        broken = tmp_path / f"broken{len(contents)}{contents[-1:].hex()}"
        broken.write_bytes(contents)
        with pytest.raises(BpfError, match=r"malformed|no ELF file"):
            open_binary(broken)


def test_a_file_is_read_once_whatever_its_path_and_forgotten_in_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(elf_symbols, "_opened", {})
    first = tmp_path / "first"
    shutil.copy(find_binary("libc"), first)
    other = tmp_path / "other"
    other.hardlink_to(first)
    opened = open_binary(first)
    assert open_binary(other) is opened
    first.unlink()
    with pytest.raises(TargetError, match=f"of '{other}'"):
        open_binary(other).find("no_such_function")
    for _ in range(elf_symbols._MOST_OPENED):
        changed = other.stat().st_mtime_ns + 1
        os.utime(other, ns=(changed, changed))
        monkeypatch.setattr(elf_symbols, "Binary", lambda path: SimpleNamespace(path=path))
        assert open_binary(other) is not opened
    assert len(elf_symbols._opened) == elf_symbols._MOST_OPENED
    assert opened not in elf_symbols._opened.values()


def test_functions_of_one_name_are_told_apart(tmp_path: Path) -> None:
    for number in (1, 2):
        source = tmp_path / f"f{number}.c"
        source.write_text(
            f"static int twice(int x) {{ return x * {number}; }} int (*p{number})(int) = twice;"
        )
    library = tmp_path / "libtwice.so"
    files = [str(tmp_path / "f1.c"), str(tmp_path / "f2.c")]
    subprocess.run(["cc", "-O0", "-shared", "-fPIC", "-o", str(library), *files], check=True)
    with pytest.raises(TargetError, match="2 functions have this name, at file offsets 0x") as caught:
        open_binary(library).find("twice")
    assert caught.value.problem is Problem.AMBIGUOUS


def test_names_of_binaries() -> None:
    assert os.path.realpath(find_binary("libc")) == os.path.realpath(find_binary("libc.so.6"))
    assert find_binary("sh").endswith("/sh")
    assert find_binary("libc", 0) == find_binary("libc")
    with pytest.raises(TargetError, match="no library or executable of this name"):
        find_binary("no_such_thing_at_all")
    with pytest.raises(TargetError) as caught:
        find_binary("bahs")
    assert "bash" in caught.value.suggestions


def test_near_names_are_few_and_found_quickly() -> None:
    functions = kernel_symbols().functions()
    found = near("vfs_raed", functions)
    assert found[0] == "vfs_read"
    assert len(found) <= 4
    assert near("VFS_READ", ["vfs_read"]) == ("vfs_read",)
    assert near("bahs", ["cat", "bash", "dash"])[0] == "bash"
    assert near("Main", ["main", "exit"]) == ("main",)
    assert near("", functions) == ()


# ---------------------------------------------------------------- hooks


def test_hooks_have_arguments_and_reasons() -> None:
    (read,) = hooks_for("vfs_read")
    assert read.kind is HookKind.FUNCTION
    assert read.arguments is not None
    assert read.arguments[0] == HookArgument("file", "struct file *")
    assert read.result in ("ssize_t", "long int", "long")
    assert {*read.ways, *(r.way for r in read.refused)} == {
        Way.KPROBE,
        Way.KRETPROBE,
        Way.KPROBE_MULTI,
        Way.FENTRY,
        Way.FEXIT,
        Way.FMOD_RET,
    }
    reasons = {r.way: r.reason for r in read.refused}
    assert "its result may not be changed" in reasons[Way.FMOD_RET]
    assert all(reasons.values())
    for way in (Way.KPROBE, Way.FENTRY):
        assert (way in read.ways) == (obstacle(way) == "")


def test_hooks_of_each_kind_are_found() -> None:
    event, raw = hooks_for("sched_switch")
    assert (event.kind, event.name, event.ways) == (
        HookKind.TRACEPOINT,
        "sched:sched_switch",
        (Way.TRACEPOINT,),
    )
    assert event.arguments is not None
    assert event.arguments[0] == HookArgument("prev_comm", "char[16]")
    assert (raw.kind, raw.ways) == (HookKind.RAW_TRACEPOINT, (Way.RAW_TRACEPOINT, Way.TP_BTF))
    assert raw.arguments is not None
    assert [a.type for a in raw.arguments][:3] == ["bool", "struct task_struct *", "struct task_struct *"]
    assert [h.name for h in hooks_for("sched:sched_switch")] == ["sched:sched_switch"]
    (task,) = [h for h in hooks_for("task") if h.kind is HookKind.ITERATOR]
    assert task.ways == (Way.ITER,)
    (call,) = [h for h in hooks_for("openat") if h.kind is HookKind.SYSCALL]
    assert call.arguments is not None
    assert [a.name for a in call.arguments] == ["dfd", "filename", "flags", "mode"]
    (lsm,) = [h for h in hooks_for("file_open") if h.kind is HookKind.LSM]
    assert lsm.arguments == (HookArgument("file", "struct file *"),)
    (security,) = [h for h in hooks_for("security_file_open") if h.kind is HookKind.FUNCTION]
    assert (Way.FMOD_RET in security.ways) == (obstacle(Way.FMOD_RET) == "")
    assert hooks_for("no_such_thing") == []
    assert {h.name for h in hooks_for("vfs_rea?")} == {"vfs_read"}


def test_targets_that_are_named_at_load_time_are_known() -> None:
    assert targets(ITERATOR)["task"] == btf_id("bpf_iter_task")
    assert targets(RAW_TRACEPOINT)["sys_enter"] == btf_id("btf_trace_sys_enter", btf.Kind.TYPEDEF)
    assert targets(LSM_HOOK)["file_open"] == btf_id("bpf_lsm_file_open")
    # functions whose names start so and that are something else
    assert not {"task_new", "task_next", "task_destroy", "run_prog", "get_info"} & targets(ITERATOR).keys()
    assert len(targets(ITERATOR)) > 8
    assert "verify_prog" not in targets(LSM_HOOK)
    assert len(targets(LSM_HOOK)) > 150


def test_what_is_said_to_be_attachable_is() -> None:
    """Every tenth raw tracepoint without holes in its record."""
    raw = [
        h for h in hooks_for("*sched*") if h.kind is HookKind.RAW_TRACEPOINT and Way.RAW_TRACEPOINT in h.ways
    ]
    events = [h for h in hooks_for("sched:*") if h.kind is HookKind.TRACEPOINT]
    assert len(raw) > 5
    assert len(events) > 5
    with loaded(ProgType.RAW_TRACEPOINT, counting()) as counter, nothing_left():
        for hook in raw:
            attach_raw_tracepoint(counter.program, hook.name).close()
    with loaded(ProgType.TRACEPOINT, counting()) as counter, nothing_left():
        for hook in events:
            attach_tracepoint(counter.program, *hook.name.split(":")).close()


# ---------------------------------------------------------------- what is loaded


def test_programs_maps_and_links_are_listed() -> None:
    with loaded(ProgType.KPROBE, counting()) as counter, nothing_left():
        number = counter.program.info().id
        (entry,) = [p for p in loaded_programs() if p.id == number]
        assert (entry.type, entry.name, entry.gpl_compatible) == (ProgType.KPROBE, "prog", True)
        assert entry.uid == os.getuid()
        assert entry.statistics.verified_insns > 5
        assert entry.loaded_at > 0
        (map_entry,) = [m for m in loaded_maps() if m.id in entry.map_ids]
        assert (map_entry.type, map_entry.name, map_entry.max_entries) == (MapType.ARRAY, "counts", 4)
        assert all(link.program_id != number for link in loaded_links())
        with attach_uprobe(counter.program, "libc", "getppid") as link:
            (found,) = [k for k in loaded_links() if k.program_id == number]
            assert (found.id, found.type) == (link.info().id, LinkType.PERF_EVENT)
            assert found.target.startswith("uprobe /") == (kernel_release() >= (6, 6, 0)), found.target
    code = writes_field(8, member_offset("task_struct", "pid"), 4)
    with (
        load_traced(code, AttachType.TRACE_ITER, btf_id("bpf_iter_task")) as program,
        attach_iter(program) as link,
    ):
        (found,) = [k for k in loaded_links() if k.id == link.info().id]
        assert (found.type, found.target) == (LinkType.ITER, "task")
    with loaded(ProgType.RAW_TRACEPOINT, counting()) as counter:
        link = attach_raw_tracepoint(counter.program, "sys_enter")
        (found,) = [k for k in loaded_links() if k.id == link.info().id]
        assert found.target == "sys_enter"
        link.close()


def test_run_statistics_count_while_they_are_on() -> None:
    with loaded(ProgType.KPROBE, counting()) as counter, nothing_left():
        with attach_uprobe(counter.program, "libc", "getppid", pid=0):
            LIBC.getppid()
            off = run_statistics(counter.program)
            with statistics():
                for _ in range(50):
                    LIBC.getppid()
            on = run_statistics(counter.program)
            LIBC.getppid()
            after = run_statistics(counter.program)
        if Path("/proc/sys/kernel/bpf_stats_enabled").read_text().strip() == "0":
            assert (off.run_cnt, on.run_cnt, after.run_cnt) == (0, 50, 50)
        assert on.run_time_ns > off.run_time_ns
        assert on.mean_ns > 0
        assert on.verified_insns > 0
    assert RunStatistics(0, 0, 0, 0).mean_ns == 0


def test_kinds_of_hooks_are_those_of_the_type_information() -> None:
    assert vmlinux_kind("btf_trace_sched_switch") is btf.Kind.TYPEDEF


def vmlinux_kind(name: str) -> btf.Kind:
    from pyebpf.runtime.kernel_btf import vmlinux

    spec = vmlinux()
    assert spec.first_ids(btf.Kind.TYPEDEF)[name] == spec.ids(name, btf.Kind.TYPEDEF)[0]
    assert "task_struct" in spec.first_ids(btf.Kind.STRUCT)
    assert "task_struct" not in spec.first_ids(btf.Kind.FUNC)
    return spec.kind(spec.ids(name)[0])
