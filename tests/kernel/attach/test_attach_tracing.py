"""Raw tracepoints, tp_btf and iterators with real events and real output; links to many functions."""

from __future__ import annotations

import ctypes
import errno
import gc
import io
import os
import signal
import struct
import subprocess
import threading
import time
from pathlib import Path

import pytest

from pyebpf import btf
from pyebpf.backend.insn import Insn, ldx
from pyebpf.object import MapSpec
from pyebpf.runtime.attach.iterator import (
    CgroupOrder,
    IterLink,
    OfCgroup,
    OfMap,
    OfProcess,
    OfThread,
    attach_iter,
)
from pyebpf.runtime.attach.multi import attach_kprobe_multi, attach_uprobe_multi
from pyebpf.runtime.attach.tracepoint import attach_raw_tracepoint, has_raw_cookies
from pyebpf.runtime.attach.tracing import attach_tracing
from pyebpf.runtime.errors import BpfError, NotSupported, Phase, TargetError
from pyebpf.runtime.kernel_btf import vmlinux
from pyebpf.runtime.load import load
from pyebpf.runtime.pinned import open_pinned
from pyebpf.runtime.program import LoadedProgram
from pyebpf.uapi.constants import AttachType, LinkType, MapType, ProgType
from tests.kernel.attach.programs import (
    argument,
    btf_id,
    counting,
    load_traced,
    loaded,
    member_offset,
    register,
    traced,
    writes_field,
)
from tests.kernel.attach.test_attach_perf import LIBC, RDI, call_getppid, nothing_left
from tests.kernel.runtime.objects import an_object, array_of_u64
from tests.kernel.runtime.places import pin_directory

GETPPID, BPF = 110, 321  # x86-64's numbers


# ---------------------------------------------------------------- raw tracepoints


def test_a_raw_tracepoint_sees_system_calls() -> None:
    with loaded(ProgType.RAW_TRACEPOINT, counting(value=argument(1))) as counter, nothing_left():
        with attach_raw_tracepoint(counter.program, "sys_enter") as link:
            assert link.info().type is LinkType.RAW_TRACEPOINT
            os.getppid()
            assert counter.count > 1
            assert counter.value == BPF  # the call that reads it
        seen = counter.count
        os.getppid()
        assert counter.count == seen
        assert not link.attached


def test_a_raw_tracepoint_with_a_cookie() -> None:
    with loaded(ProgType.RAW_TRACEPOINT, counting(cookie=True)) as counter, nothing_left():
        try:
            link = attach_raw_tracepoint(counter.program, "sys_enter", cookie=77)
        except NotSupported as refused:
            pytest.skip(str(refused))
        with link:
            os.getppid()
        assert counter.cookie == 77


def test_raw_tracepoints_are_checked() -> None:
    with loaded(ProgType.RAW_TRACEPOINT, counting()) as counter, nothing_left():
        with pytest.raises(TargetError, match="did you mean sched_switch") as caught:
            attach_raw_tracepoint(counter.program, "sched_swich")
        assert caught.value.errno == errno.ENOENT
        with pytest.raises(TargetError):
            attach_raw_tracepoint(counter.program, "")
    refused = pytest.raises(BpfError, match="more arguments than the tracepoint 'sys_enter' has")
    with loaded(ProgType.RAW_TRACEPOINT, counting(value=argument(9))) as counter, nothing_left(), refused:
        attach_raw_tracepoint(counter.program, "sys_enter", cookie=1 if has_raw_cookies() else 0)


def test_a_kernel_without_cookies_of_raw_tracepoints_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pyebpf.runtime.attach.tracing.has_raw_cookies", lambda: False)
    target = btf_id("btf_trace_sched_switch", btf.Kind.TYPEDEF)
    refused = pytest.raises(NotSupported, match=r"came with Linux 6\.10")
    with traced(counting(), AttachType.TRACE_RAW_TP, target) as counter, nothing_left(), refused:
        attach_tracing(counter.program, cookie=1)


def test_a_writable_raw_tracepoint() -> None:
    """Of these the kernel has few; one that is not writable is refused with the reason."""
    code = [Insn(ldx(8), 6, 1, 0), Insn(ldx(4), 0, 6, 0), *counting()[-2:]]
    with loaded(ProgType.RAW_TRACEPOINT_WRITABLE, code) as counter, nothing_left():
        with attach_raw_tracepoint(counter.program, "bpf_test_finish") as link:
            assert link.attached
        with pytest.raises(BpfError, match="'sys_enter' is not writable"):
            attach_raw_tracepoint(counter.program, "sys_enter")


# ---------------------------------------------------------------- tp_btf


@pytest.mark.parametrize("cookie", [0, 4711])
def test_tp_btf_sees_the_scheduler(cookie: int) -> None:
    target = btf_id("btf_trace_sched_switch", btf.Kind.TYPEDEF)
    with traced(counting(cookie=True), AttachType.TRACE_RAW_TP, target) as counter, nothing_left():
        with attach_tracing(counter.program, cookie=cookie) as link:
            assert link.info().type is LinkType.RAW_TRACEPOINT
            for _ in range(10):
                time.sleep(0.001)
        seen = counter.count
        assert seen >= 10
        assert counter.cookie == cookie
        time.sleep(0.01)
        assert counter.count == seen


def test_only_programs_for_a_place_are_attached_there() -> None:
    with (
        loaded(ProgType.RAW_TRACEPOINT, counting()) as counter,
        pytest.raises(TypeError, match="takes TRACING or LSM"),
    ):
        attach_tracing(counter.program)
    target = btf_id("btf_trace_sched_switch", btf.Kind.TYPEDEF)
    with (
        traced(counting(), AttachType.TRACE_RAW_TP, target) as counter,
        pytest.raises(
            TypeError, match="was loaded for TRACE_RAW_TP; an iterator takes programs for TRACE_ITER"
        ),
    ):
        attach_iter(counter.program)


def test_a_pinned_tp_btf_link() -> None:
    target = btf_id("btf_trace_sys_enter", btf.Kind.TYPEDEF)
    with (
        traced(counting(), AttachType.TRACE_RAW_TP, target) as counter,
        pin_directory() as pins,
        nothing_left(),
    ):
        link = attach_tracing(counter.program)
        link.pin(pins / "link")
        link.close()
        before = counter.count
        os.getppid()
        assert counter.count > before
        open_pinned(pins / "link").detach()  # type: ignore[union-attr]  # it is a link
        before = counter.count
        os.getppid()
        assert counter.count == before


# ---------------------------------------------------------------- iterators


def task_iterator(field: str = "pid") -> LoadedProgram:
    code = writes_field(8, member_offset("task_struct", field), 4)
    return load_traced(code, AttachType.TRACE_ITER, btf_id("bpf_iter_task"))


def numbers(data: bytes) -> list[int]:
    return list(struct.unpack(f"={len(data) // 4}I", data))


def test_an_iterator_over_tasks_is_read_as_a_file() -> None:
    with task_iterator() as program, nothing_left(), attach_iter(program) as link:
        assert link.info().type is LinkType.ITER
        found = numbers(link.read())
        assert os.getpid() in found
        assert os.getppid() in found
        with link.open() as opened:
            assert isinstance(opened, io.BufferedReader)
            assert opened.read(4) == found[0].to_bytes(4, "little")
            rest = opened.read()
        assert os.getpid() in numbers(rest)
        # every open starts anew
        assert os.getpid() in numbers(link.read())


@pytest.mark.parametrize("over", ["process", "thread"])
def test_an_iterator_over_the_tasks_of_a_process(over: str) -> None:
    with task_iterator() as program, nothing_left():
        stop = threading.Event()
        thread = threading.Thread(target=stop.wait, args=(20,))
        thread.start()
        try:
            target = OfProcess(os.getpid()) if over == "process" else OfThread(thread.native_id or 0)
            with attach_iter(program, target) as link:
                found = numbers(link.read())
        finally:
            stop.set()
            thread.join()
        assert thread.native_id in found
        assert (os.getpid() in found) == (over == "process")
        assert len(found) < 20
        with pytest.raises(BpfError, match="no such task"):
            attach_iter(program, OfProcess(2**22 - 1))


def test_an_iterator_over_maps_and_over_the_elements_of_one() -> None:
    ids = writes_field(8, member_offset("bpf_map", "id"), 4)
    with load(an_object(maps=[array_of_u64(entries=5)])) as made:
        numbers_of = made.maps["counts"]
        for index in range(5):
            numbers_of[index] = 1000 + index  # type: ignore[index]
        with load_traced(ids, AttachType.TRACE_ITER, btf_id("bpf_iter_bpf_map")) as program, nothing_left():
            with attach_iter(program) as link:
                assert numbers_of.info().id in numbers(link.read())
            with pytest.raises(
                TypeError, match="'bpf_map' does not take `OfMap`; it takes nothing: it is about all"
            ):
                attach_iter(program, OfMap(numbers_of))
        values = writes_field(24, 0, 8)
        with (
            load_traced(values, AttachType.TRACE_ITER, btf_id("bpf_iter_bpf_map_elem")) as program,
            nothing_left(),
        ):
            with attach_iter(program, OfMap(numbers_of)) as link:
                assert struct.unpack("=5Q", link.read()) == tuple(range(1000, 1005))
            with pytest.raises(BpfError, match="pass `OfMap`"):
                attach_iter(program)
            task = MapSpec("hash", MapType.QUEUE, 0, 8, 4)
            with (
                load(an_object(maps=[task])) as other,
                pytest.raises(BpfError, match="not about maps of this type"),
            ):
                attach_iter(program, OfMap(other.maps["hash"]))


def cgroup_root() -> Path:
    for line in Path("/proc/self/mounts").read_text().splitlines():
        if line.split()[2] == "cgroup2":
            return Path(line.split()[1])
    pytest.skip("no cgroup2 file system is mounted")


def test_an_iterator_over_control_groups() -> None:
    if not vmlinux().ids("bpf_iter_cgroup", btf.Kind.FUNC):
        pytest.skip("this kernel has no iterator over control groups")
    root = cgroup_root()
    code = writes_field(8, member_offset("cgroup", "level"), 4)
    with load_traced(code, AttachType.TRACE_ITER, btf_id("bpf_iter_cgroup")) as program, nothing_left():
        with attach_iter(program, OfCgroup(root)) as link:
            assert numbers(link.read()) == [0]
        with attach_iter(program, OfCgroup(root, CgroupOrder.DESCENDANTS_FIRST_DOWN)) as link:
            levels = numbers(link.read())
            assert levels[0] == 0
            assert len(levels) == 1 + sum(len(names) for _, names, _ in os.walk(root))
        with pytest.raises(BpfError, match="not in a cgroup2 file system"):
            attach_iter(program, OfCgroup("/tmp"))
        with pytest.raises(BpfError) as caught:
            attach_iter(program, OfCgroup(root / "no_such_group"))
        assert (caught.value.errno, caught.value.phase) == (errno.ENOENT, Phase.ATTACH)


def test_a_pinned_iterator_is_read_by_anybody() -> None:
    with task_iterator() as program, pin_directory() as pins, nothing_left():
        with attach_iter(program) as link:
            link.pin(pins / "tasks")
        shown = subprocess.run(["cat", str(pins / "tasks")], capture_output=True, check=True).stdout
        assert os.getpid() in numbers(shown)
        found = open_pinned(pins / "tasks")
        assert isinstance(found, IterLink)
        assert os.getpid() in numbers(found.read())
        with task_iterator("tgid") as other:
            found.update(other)
        assert found.read().count(os.getpid().to_bytes(4, "little")) == len(os.listdir("/proc/self/task"))
        found.detach()
        assert not (pins / "tasks").exists()


def test_text_of_an_iterator_line_by_line() -> None:
    with (
        task_iterator() as program,
        nothing_left(),
        attach_iter(program) as link,
        link.open_text("latin-1") as opened,
    ):
        assert isinstance(opened, io.TextIOWrapper)
        assert len(opened.read()) >= 8


def test_signals_do_not_disturb_reading() -> None:
    hits: list[int] = []
    with task_iterator() as program, nothing_left(), attach_iter(program) as link:
        before = signal.signal(signal.SIGALRM, lambda number, frame: hits.append(number))
        signal.setitimer(signal.ITIMER_REAL, 0.001, 0.001)
        try:
            end = time.monotonic() + 0.5
            while time.monotonic() < end:
                assert os.getpid() in numbers(link.read())
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, before)
    assert len(hits) > 10


def test_an_open_iterator_file_closes_with_its_last_reference() -> None:
    with task_iterator() as program, nothing_left(), attach_iter(program) as link:
        opened = link.open()
        opened.read(4)
        del opened
        gc.collect()


# ---------------------------------------------------------------- many functions


def test_uprobe_multi_with_patterns_and_cookies() -> None:
    code = counting(cookie=True, value=register(RDI))
    with loaded(ProgType.KPROBE, code, AttachType.TRACE_UPROBE_MULTI) as counter, nothing_left():
        with attach_uprobe_multi(counter.program, "libc", {"getppid": 5, "lab*": 6}, pid=0) as link:
            assert link.info().type is LinkType.UPROBE_MULTI
            call_getppid(3)
            assert (counter.count, counter.cookie) == (3, 5)
            LIBC.labs(ctypes.c_long(12))
            assert (counter.count, counter.cookie, counter.value) == (4, 6, 12)
        with attach_uprobe_multi(counter.program, "libc", "getppid", returns=True):
            call_getppid(2)
        assert counter.count == 6
        with pytest.raises(TargetError, match=r"no function of .* matches the pattern"):
            attach_uprobe_multi(counter.program, "libc", "no_such_thing_*")
        with pytest.raises(TargetError, match="did you mean getppid"):
            attach_uprobe_multi(counter.program, "libc", ["getpid", "getppidd"])
        with pytest.raises(ValueError, match="no function"):
            attach_uprobe_multi(counter.program, "libc", [])
        with pytest.raises(BpfError, match="no process 4194303"):
            attach_uprobe_multi(counter.program, "/usr/bin/bash", "main*", pid=4194303)


def test_a_uprobe_session_runs_twice_or_says_which_kernel_has_it() -> None:
    with loaded(ProgType.KPROBE, counting(), AttachType.TRACE_UPROBE_SESSION) as counter, nothing_left():
        try:
            link = attach_uprobe_multi(counter.program, "libc", "getppid")
        except NotSupported as refused:
            assert "uprobe.session, which came with Linux 6.13" in str(refused)
            return
        with link:
            call_getppid(3)
        assert counter.count == 6
        with pytest.raises(ValueError, match="leave `returns` out"):
            attach_uprobe_multi(counter.program, "libc", "getppid", returns=True)


def test_kprobe_multi_works_or_says_which_kernel_has_it() -> None:
    with loaded(ProgType.KPROBE, counting(), AttachType.TRACE_KPROBE_MULTI) as counter, nothing_left():
        try:
            link = attach_kprobe_multi(counter.program, ["vfs_read", "vfs_writ*"])
        except NotSupported as refused:
            assert "kprobe.multi, which came with Linux 5.18 with CONFIG_FPROBE" in str(refused)
        else:
            link.close()
        with pytest.raises(TargetError, match="did you mean vfs_read"):
            attach_kprobe_multi(counter.program, "vfs_raed")
        with pytest.raises(TargetError, match="no function of the kernel matches"):
            attach_kprobe_multi(counter.program, "vfs_nothing_*")
    wrong = pytest.raises(TypeError, match="was loaded for nothing in particular")
    with loaded(ProgType.KPROBE, counting()) as counter, wrong:
        attach_kprobe_multi(counter.program, "vfs_read")
