"""Tracing programs in Python see real events of this kernel, whatever kind they are of."""

from __future__ import annotations

import ctypes
import os
import time
from pathlib import Path
from typing import Any

import pytest

import pyebpf as bpf
from pyebpf import i32, i64, u32, u64
from pyebpf.kernel import bpf_iter_meta, task_struct
from pyebpf.runtime.attach.targets import check_syscall
from pyebpf.runtime.errors import TargetError
from pyebpf.session import ImportOnly, importing

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="tracing needs root")

bpf.license("GPL")
GETPPID = 110


@bpf.struct
class Event:
    pid: u32
    number: i64
    comm: bytes = bpf.chars(16)
    text: bytes = bpf.chars(64)


events = bpf.RingBuf[Event](1 << 16)
seen = bpf.ArrayMap[u32, i64](max_entries=16)
stacks = bpf.StackTrace(max_entries=256)
places = bpf.HashMap[u64, u64](max_entries=1000, default=0)
mine = bpf.Const[u32](os.getpid())


@bpf.tracepoint("syscalls", "sys_enter_openat")
def opened(ctx: bpf.Tracepoint) -> None:
    with events.reserve(Event) as event:
        if event is not None:
            event.pid = u32(bpf.get_current_pid_tgid() >> 32)
            event.number = ctx.flags
            event.comm = bpf.get_current_comm()
            event.text = bpf.str_from_user(ctx.filename, 64)


@bpf.tracepoint("sched", "sched_process_exec")
def executed(ctx: bpf.Tracepoint) -> None:
    with events.reserve(Event) as event:
        if event is not None:
            event.pid = ctx.pid
            event.text = ctx.filename


@bpf.raw_tracepoint("sys_enter")
def raw(regs: u64, number: int, ctx: bpf.RawTracepoint) -> None:
    task = bpf.cast(task_struct, bpf.get_current_task())
    if number == GETPPID and u32(task.tgid) == mine.value:
        seen[0] = task.real_parent.tgid
        seen[1] = i64(ctx.args[1])


@bpf.tp_btf("sys_enter")
def typed(regs, number: int) -> None:  # type: ignore[no-untyped-def]
    task = bpf.get_current_task_btf()
    if number == GETPPID and u32(task.tgid) == mine.value:
        seen[2] = task.real_parent.tgid
        seen[3] = bpf.kernel_version()
        seen[4] = bpf.field_exists(task_struct, "mm.owner") and not bpf.kconfig(
            "CONFIG_NO_SUCH_OPTION", bool, False
        )


@bpf.uprobe("libc", "getenv")
def asked(name: bpf.User[bytes]) -> None:
    with events.reserve(Event) as event:
        if event is not None:
            event.text = bpf.str_from_user(name, 64)


@bpf.uretprobe("libc", "abs")
def answered(retval: i32) -> None:
    seen[5] = retval


@bpf.perf_event
def sampled(ctx: bpf.PerfEvent) -> None:
    place = bpf.get_stackid(ctx, stacks, bpf.BPF_F_USER_STACK)
    if place >= 0 and u32(bpf.get_current_pid_tgid() >> 32) == mine.value:
        places[u64(place)] += 1
        seen[6] = i64(ctx.ip)


@bpf.iter("task")
def tasks(meta: bpf_iter_meta, task: task_struct) -> None:
    if task is not None:
        bpf.seq_printf(f"{meta.seq_num} {task.tgid} {task.comm}\n")


@bpf.tp_btf("sched_switch")
def switched(preempt: bool, prev: task_struct, next: task_struct) -> None:
    if u32(prev.tgid) == mine.value and next != prev:
        seen[7] += 1
        seen[8] = prev.se.on_rq


def libc() -> ctypes.CDLL:
    return ctypes.CDLL(None)


def ours() -> list[Event]:
    return [event for event in events.poll(timeout=0.3) if event.pid == os.getpid()]


def test_fields_of_events_and_strings_of_users(tmp_path: Path) -> None:
    path = tmp_path / "a file"
    path.write_text("")
    with opened.attach():
        os.close(os.open(path, os.O_RDONLY | os.O_CLOEXEC))
    (event,) = [e for e in ours() if e.text == bytes(path)[:63]]
    assert event.number == os.O_RDONLY | os.O_CLOEXEC
    assert event.comm == Path("/proc/self/comm").read_bytes().strip()


def test_strings_that_events_say_the_place_of() -> None:
    with executed.attach():
        pid = os.spawnv(os.P_NOWAIT, "/bin/true", ["true"])
        os.waitpid(pid, 0)
    found = {event.pid: event.text for event in events.poll(timeout=0.3)}
    assert found[pid] == b"/bin/true"


def test_raw_tracepoints_and_probed_fields() -> None:
    with raw.attach():
        os.getppid()
    assert (seen[0], seen[1]) == (os.getppid(), GETPPID)


def test_typed_tracepoints_settings_and_facts() -> None:
    with typed.attach():
        os.getppid()
    major, minor = (int(part) for part in os.uname().release.split(".")[:2])
    assert seen[2] == os.getppid()
    assert seen[3] >> 8 == major << 8 | minor
    assert seen[4] == 1


def test_tracked_fields() -> None:
    with switched.attach():
        for _ in range(20):
            time.sleep(0.001)
    assert seen[7] >= 10
    assert seen[8] in (0, 1)


def test_functions_of_libraries() -> None:
    with asked.attach(pid=0), answered.attach(pid=0):
        libc().getenv(b"NO_SUCH_VARIABLE")
        assert libc().abs(-42) == 42
    assert b"NO_SUCH_VARIABLE" in [event.text for event in events.poll(timeout=0.3)]
    assert seen[5] == 42


def test_samples_and_stacks() -> None:
    with sampled.attach(frequency=999, pid=0):
        end = time.monotonic() + 0.5
        while time.monotonic() < end:
            pass
    assert sum(places.values()) > 0
    modules = {s.module for place in places for s in bpf.symbolize_user(os.getpid(), stacks[u32(place)])}
    assert any("python" in module or "libc" in module for module in modules), modules


def test_iterators_are_files() -> None:
    lines = tasks.read().splitlines()
    numbers = [int(line.split()[0]) for line in lines]
    assert numbers == list(range(len(numbers)))
    assert any(int(line.split()[1]) == os.getpid() for line in lines)
    with tasks.attach() as link, link.open_text() as file:
        assert file.readline().startswith("0 ")


def test_contradicting_targets() -> None:
    with pytest.raises(TypeError, match="is for 'sched/sched_process_exec'"):
        executed.attach("sched", "sched_switch")
    with pytest.raises(TypeError, match="is for 'sched/sched_process_exec'"):
        executed.attach(name="sched_switch")
    with pytest.raises(ValueError, match="a tracepoint, as category and name"):
        bpf.tracepoint("sched_switch")


@pytest.mark.parametrize(
    ("decorator", "told"),
    [
        (bpf.kprobe("vfs_raed"), "did you mean vfs_read"),
        (bpf.kretprobe("vfs_raed"), "did you mean vfs_read"),
        (bpf.kprobe_multi("vfs_raed*"), "did you mean vfs_read"),
        (bpf.ksyscall("wirte"), "this kernel has no such system call; did you mean write"),
        (bpf.kretsyscall("wirte"), "did you mean write"),
        (bpf.uprobe("libc", "mallok"), "did you mean malloc"),
        (bpf.uretprobe("/no/such/file", "malloc"), "there is no such file"),
        (bpf.uprobe_multi("libc", "mallok*"), "did you mean malloc"),
        (bpf.raw_tracepoint("sched_swich"), "did you mean sched_switch"),
        (bpf.raw_tracepoint("sys_enter_openat"), "no raw tracepoint 'sys_enter_openat'"),
    ],
)
def test_a_wrong_target_is_told_before_the_program_is_loaded(decorator: Any, told: str) -> None:
    @decorator  # type: ignore[untyped-decorator]
    def program() -> None:
        seen[0] = 1

    with pytest.raises(TargetError, match=told):
        program.attach()
    assert not program.loaded


@pytest.mark.parametrize("name", ["getpid", "fork", "pause", "write"])
def test_system_calls_that_types_do_not_have_are_known(name: str) -> None:
    check_syscall(name)
    with pytest.raises(TargetError, match="32-bit processes use it"):
        check_syscall("socketcall")


@bpf.tp_btf("sys_enter")
def differently(regs: bool, number: int) -> None:
    if regs and number == GETPPID:
        seen[8] = 1


@bpf.tp_btf("sys_enter")
def as_number(regs: u64, number: int) -> None:
    if number == GETPPID:
        seen[9] = i64((regs & 0xFF) + 1)


@bpf.tp_btf("sched_switch")
def as_user(preempt: bool, prev: bpf.User[bytes], next: i64) -> None:
    seen[10] = i64(u64(prev) & 7) + (next & 7)


@bpf.raw_tracepoint("sched_switch")
def untracked(preempt: bool, prev: bool) -> None:
    if prev:
        seen[11] = 1


@pytest.mark.parametrize(
    ("program", "key"), [(differently, 8), (as_number, 9), (as_user, 10), (untracked, 11)]
)
def test_pointers_that_are_annotated_otherwise(program: Any, key: int) -> None:
    seen[key] = -1
    with program.attach():
        os.getppid()
        time.sleep(0.01)
    assert seen[key] >= 0
    program.close()


def test_where_nothing_is_loaded_the_target_does_not_matter(tmp_path: Path) -> None:
    @bpf.uprobe("/no/such/file", "malloc")
    def program() -> None:
        seen[0] = 1

    with bpf.machine(), pytest.raises(bpf.InMachine):
        program.attach()
    with importing(tmp_path), pytest.raises(ImportOnly):
        program.attach()


def test_numbers_of_attach_are_checked() -> None:
    @bpf.uprobe("libc", "abs")
    def program() -> None:
        seen[0] = 1

    for pid in (-1, 1 << 40):
        with pytest.raises(ValueError, match=f"{pid} is no number of a process"):
            program.attach(pid=pid)

    @bpf.kprobe
    def other() -> None:
        seen[0] = 1

    with pytest.raises(ValueError, match="'zz' is no offset such as 0x10"):
        other.attach("vfs_read+zz")
