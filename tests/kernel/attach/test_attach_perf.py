"""Programs on perf events, with real events: uprobes, tracepoints and samples; what is refused, and what stays behind."""

from __future__ import annotations

import ctypes
import errno
import gc
import os
import re
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from pyebpf.runtime.attach.kprobe import attach_kprobe
from pyebpf.runtime.attach.link import BpfLink, LinkGroup, OtherLink
from pyebpf.runtime.attach.perf_event import HardwareEvent, OtherEvent, SoftwareEvent, attach_perf_event
from pyebpf.runtime.attach.perf_open import PerfLink, PerfMethod, attach_to_event, has_perf_links
from pyebpf.runtime.attach.probe_events import UPROBE_EVENTS, open_probe_event
from pyebpf.runtime.attach.tracepoint import attach_tracepoint
from pyebpf.runtime.attach.uprobe import attach_uprobe
from pyebpf.runtime.attrs_tracing import PerfEventAttr
from pyebpf.runtime.binaries import find_binary
from pyebpf.runtime.errors import BpfError, NotSupported, Phase, Problem, TargetError
from pyebpf.runtime.fd import Fd
from pyebpf.runtime.kernel_btf import vmlinux
from pyebpf.runtime.perf_open import perf_event_open
from pyebpf.runtime.pinned import open_pinned
from pyebpf.runtime.tracefs import root
from pyebpf.uapi.constants import LinkType, ProgType
from tests.kernel.attach.programs import Counter, counting, loaded, register
from tests.kernel.runtime.places import open_fds, pin_directory

LIBC = ctypes.CDLL(None)
RAX = 80
RDI = 112
METHODS = [None, PerfMethod.LINK, PerfMethod.IOCTL, PerfMethod.TRACEFS]


def events() -> list[str]:
    """The uprobes and kprobes in tracefs that this process made."""
    found = []
    for name in ("uprobe_events", "kprobe_events"):
        path = Path(root()) / name
        if path.exists():
            found += [line for line in path.read_text().splitlines() if f"pyebpf_{os.getpid()}" in line]
    return found


@contextmanager
def nothing_left() -> Iterator[None]:
    """Nothing that is made inside stays behind: no descriptor, no event in tracefs."""
    vmlinux()  # read once per process, and Python's mmap keeps a descriptor of what it maps
    gc.collect()
    before = open_fds()
    yield
    gc.collect()
    assert open_fds() == before
    assert events() == []


def call_getppid(times: int) -> None:
    for _ in range(times):
        LIBC.getppid()


# ---------------------------------------------------------------- uprobes


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("pid", [None, 0])
def test_a_uprobe_counts_calls_of_a_library_function(method: PerfMethod | None, pid: int | None) -> None:
    with loaded(ProgType.KPROBE, counting()) as counter, nothing_left():
        with attach_uprobe(counter.program, "libc", "getppid", method=method, pid=pid) as link:
            assert isinstance(link, PerfLink if method in (None, PerfMethod.LINK) else OtherLink)
            assert (events() != []) == (method is PerfMethod.TRACEFS)
            call_getppid(7)
            assert link.attached
        assert counter.count == 7
        assert not link.attached
        call_getppid(3)
        assert counter.count == 7


@pytest.mark.parametrize("method", [None, PerfMethod.TRACEFS])
def test_a_uretprobe_sees_the_result(method: PerfMethod | None) -> None:
    with loaded(ProgType.KPROBE, counting(value=register(RAX))) as counter, nothing_left():
        with attach_uprobe(counter.program, "libc.so.6", "labs", returns=True, method=method):
            LIBC.labs(ctypes.c_long(-4711))
        assert (counter.count, counter.value) == (1, 4711)


@pytest.mark.parametrize("method", [None, PerfMethod.TRACEFS])
def test_a_uprobe_has_its_cookie_and_sees_arguments(method: PerfMethod | None) -> None:
    code = counting(cookie=True, value=register(RDI))
    with loaded(ProgType.KPROBE, code) as counter, nothing_left():
        with attach_uprobe(counter.program, "libc", "labs", cookie=2**63 + 5, method=method):
            LIBC.labs(ctypes.c_long(815))
        assert (counter.count, counter.cookie, counter.value) == (1, 2**63 + 5, 815)


def test_a_uprobe_at_a_file_offset_and_inside_a_function() -> None:
    from pyebpf.runtime.binaries import find_binary
    from pyebpf.runtime.elf_symbols import open_binary

    path = find_binary("libc")
    binary = open_binary(path)
    offset = binary.file_offset(binary.find("getppid").address)
    assert offset is not None
    with loaded(ProgType.KPROBE, counting()) as counter:
        with attach_uprobe(counter.program, path, offset=offset):
            call_getppid(2)
        assert counter.count == 2
        with pytest.raises(TargetError, match="outside the function") as caught:
            attach_uprobe(counter.program, path, "getppid", offset=0x4000)
        assert caught.value.problem is Problem.BAD_OFFSET
        with pytest.raises(TargetError, match="no code at 0xfffffffff"):
            attach_uprobe(counter.program, path, offset=0xFFFFFFFFF)


def test_a_uprobe_on_what_the_processor_chose() -> None:
    text = ctypes.create_string_buffer(b"x" * 100)
    with loaded(ProgType.KPROBE, counting()) as counter:
        with attach_uprobe(counter.program, "libc", "strlen", pid=0):
            LIBC.strlen(text)
        assert counter.count >= 1


def test_a_uprobe_sees_another_process_only() -> None:
    code = counting(any_process=True)
    script = "import ctypes,sys; f=ctypes.CDLL(None).getppid; sys.stdin.readline(); [f() for _ in range(5)]"
    with loaded(ProgType.KPROBE, code) as counter:
        child = subprocess.Popen([sys.executable, "-c", script], stdin=subprocess.PIPE)
        try:
            time.sleep(0.3)
            with attach_uprobe(counter.program, "libc", "getppid", pid=child.pid):
                call_getppid(3)
                child.communicate(b"\n", timeout=20)
            assert counter.count == 5
        finally:
            child.kill()
            child.wait()
        with pytest.raises(BpfError) as caught:
            attach_uprobe(counter.program, "/usr/bin/env", offset=0x3000, pid=child.pid)
        assert caught.value.errno == errno.ESRCH


@pytest.mark.parametrize(
    ("binary", "symbol", "problem", "words"),
    [
        ("libc", "getppidd", Problem.UNKNOWN, "did you mean getppid"),
        ("libc", "memcpy@GLIBC_9", Problem.UNKNOWN, "did you mean memcpy@GLIBC_2.14 or memcpy@GLIBC_2.2.5"),
        ("libcc", "getppid", Problem.UNKNOWN, "no library or executable of this name"),
        ("/usr/bin/bsh", "main", Problem.UNKNOWN, "did you mean /usr/bin/bash"),
        ("bash", "mainn", Problem.UNKNOWN, "it has no such function"),
    ],
)
def test_targets_of_uprobes_are_checked(binary: str, symbol: str, problem: Problem, words: str) -> None:
    with loaded(ProgType.KPROBE, counting()) as counter, nothing_left():
        with pytest.raises(TargetError, match=words) as caught:
            attach_uprobe(counter.program, binary, symbol)
        assert caught.value.problem is problem
        assert caught.value.errno == errno.ENOENT
        assert len(caught.value.suggestions) <= 4


def test_files_that_are_no_executables_are_told() -> None:
    with loaded(ProgType.KPROBE, counting()) as counter:
        with pytest.raises(BpfError, match=r"a script that '.*sh' runs"):
            attach_uprobe(counter.program, "/usr/bin/ldd", "main")
        with pytest.raises(BpfError, match="no ELF file"):
            attach_uprobe(counter.program, "/etc/passwd", "main")
        with pytest.raises(ValueError, match="not negative"):
            attach_uprobe(counter.program, "libc", "getppid", offset=-1)
        with pytest.raises(ValueError, match="returns as a whole"):
            attach_uprobe(counter.program, "libc", "getppid", offset=4, returns=True)


def test_a_probe_takes_programs_for_probes_only() -> None:
    with loaded(ProgType.TRACEPOINT, counting()) as counter:
        with pytest.raises(TypeError, match="'prog' is a TRACEPOINT program; a uprobe takes KPROBE"):
            attach_uprobe(counter.program, "libc", "getppid")
        with pytest.raises(TypeError, match="a perf event takes PERF_EVENT"):
            attach_perf_event(counter.program, SoftwareEvent.CPU_CLOCK, frequency=1)


def test_a_pinned_uprobe_stays_until_it_is_detached() -> None:
    with loaded(ProgType.KPROBE, counting()) as counter, pin_directory() as directory, nothing_left():
        link = attach_uprobe(counter.program, "libc", "getppid")
        assert link.info().type is LinkType.PERF_EVENT
        link.pin(directory / "link")
        link.close()
        call_getppid(2)
        assert counter.count == 2
        found = open_pinned(directory / "link")
        assert isinstance(found, BpfLink)
        with pytest.raises(NotSupported, match="replaces no programs of tracing links"):
            found.update(counter.program)
        found.detach()
        assert not (directory / "link").exists()
        call_getppid(2)
        assert counter.count == 2


def test_a_pin_is_removed_from_another_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with loaded(ProgType.KPROBE, counting()) as counter, pin_directory() as directory, nothing_left():
        for name in ("pinned", "opened"):
            monkeypatch.chdir(directory)
            link = attach_uprobe(counter.program, "libc", "getppid")
            link.pin(name)
            if name == "opened":
                link.close()
                found = open_pinned(name)
                assert isinstance(found, BpfLink)
                link = found
            monkeypatch.chdir(tmp_path)
            link.detach()
            assert not (directory / name).exists()


def test_what_dies_takes_its_tracefs_events_along() -> None:
    with loaded(ProgType.KPROBE, counting()) as counter, nothing_left():
        attach_uprobe(counter.program, "libc", "getppid", method=PerfMethod.TRACEFS)  # not kept
        gc.collect()
        assert events() == []
    script = """
        import os
        from pyebpf.runtime.attach.perf_open import PerfMethod
        from pyebpf.runtime.attach.uprobe import attach_uprobe
        from pyebpf.uapi.constants import ProgType
        from tests.kernel.attach.programs import counting, loaded
        with loaded(ProgType.KPROBE, counting()) as counter:
            link = attach_uprobe(counter.program, "libc", "getppid", method=PerfMethod.TRACEFS)
            if os.fork() == 0:
                raise SystemExit  # a child that ends removes nothing
            os.wait()
            os.getppid()
            assert counter.count == 1, counter.count
            print(os.getpid())
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)],
        capture_output=True,
        text=True,
        cwd=Path(__file__).parents[3],
    )
    assert done.returncode == 0, done.stderr
    assert f"pyebpf_{done.stdout.strip()}" not in (Path(root()) / "uprobe_events").read_text()


def test_a_failed_attachment_leaves_no_event() -> None:
    """A program that needs a cookie's link fails at the last step, when the event is made already."""
    with loaded(ProgType.TRACEPOINT, counting()) as counter, nothing_left():
        place = f"{find_binary('libc')}:0x30000"
        event, remove = open_probe_event(UPROBE_EVENTS, place, "to it", returns=False)
        with pytest.raises(BpfError, match="a TRACEPOINT program does not fit this event"):
            attach_to_event(counter.program, event, "to it", cleanup=remove)


def test_where_there_are_only_events_of_tracefs_the_method_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pyebpf.runtime.attach.uprobe.probe_pmu", lambda name: None)
    with loaded(ProgType.KPROBE, counting()) as counter, nothing_left():
        with pytest.raises(NotSupported, match="a cookie needs a bpf_link") as caught:
            attach_uprobe(counter.program, "libc", "getppid", method=PerfMethod.IOCTL, cookie=1)
        assert caught.value.phase is Phase.ATTACH
        with attach_uprobe(counter.program, "libc", "getppid", method=PerfMethod.IOCTL):
            assert len(events()) == 1
            call_getppid(2)
        assert counter.count == 2


def test_names_of_events_in_tracefs_are_nobody_elses(monkeypatch: pytest.MonkeyPatch) -> None:
    with loaded(ProgType.KPROBE, counting()) as counter, nothing_left():
        tracefs = PerfMethod.TRACEFS
        with (
            attach_uprobe(counter.program, "libc", "getppid", method=tracefs),
            attach_uprobe(counter.program, "libc", "labs", method=tracefs),
        ):
            names = {line.split()[0].rpartition("/")[2] for line in events()}
            assert len(names) == 2
            assert all(re.fullmatch("p[0-9a-f]{16}", name) for name in names)
        monkeypatch.setattr("os.urandom", lambda size: b"U" * size)
        with attach_uprobe(counter.program, "libc", "getppid", method=tracefs):
            with pytest.raises(BpfError) as caught:
                attach_uprobe(counter.program, "libc", "getppid", method=tracefs)
            assert caught.value.errno == errno.EEXIST
            call_getppid(2)
        assert counter.count == 2


@pytest.mark.parametrize("method", METHODS)
def test_attaching_again_and_again_leaves_nothing(method: PerfMethod | None) -> None:
    with loaded(ProgType.KPROBE, counting()) as counter, nothing_left():
        for _ in range(10):
            attach_uprobe(counter.program, "libc", "getppid", method=method, pid=0).close()
            link = attach_uprobe(counter.program, "libc", "getppid", method=method, returns=True)
            link.detach()
            link.detach()
            link.close()


def test_an_ioctl_has_no_cookie() -> None:
    refused = pytest.raises(NotSupported, match=r"came with Linux 5\.15")
    with loaded(ProgType.KPROBE, counting()) as counter, nothing_left(), refused:
        attach_uprobe(counter.program, "libc", "getppid", method=PerfMethod.IOCTL, cookie=1)
    assert has_perf_links()


def test_a_kernel_without_links_of_events_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pyebpf.runtime.attach.perf_open.has_perf_links", lambda: False)
    refused = pytest.raises(NotSupported, match=r"no bpf_link of a perf event, which came with Linux 5\.15")
    with loaded(ProgType.TRACEPOINT, counting()) as counter, nothing_left(), refused:
        # the program does not fit, for which the kernel has the same EINVAL as for links that it does not know
        event = perf_event_open(PerfEventAttr(type=1, config=0), pid=0, cpu=-1, subject="to it")
        attach_to_event(counter.program, event, "to it", method=PerfMethod.LINK)


# ---------------------------------------------------------------- tracepoints


@pytest.mark.parametrize("method", [None, PerfMethod.IOCTL])
def test_a_tracepoint_counts_system_calls(method: PerfMethod | None) -> None:
    from pyebpf.runtime.event_format import event_format

    field = event_format("syscalls", "sys_enter_getpriority").field("who")
    assert field is not None
    code = counting(value=register(field.offset))
    with loaded(ProgType.TRACEPOINT, code) as counter, nothing_left():
        with attach_tracepoint(counter.program, "syscalls", "sys_enter_getpriority", method=method):
            for _ in range(4):
                os.getpriority(os.PRIO_PROCESS, os.getpid())
        os.getpriority(os.PRIO_PROCESS, 0)
        assert (counter.count, counter.value) == (4, os.getpid())


def test_a_tracepoint_has_its_cookie() -> None:
    with loaded(ProgType.TRACEPOINT, counting(cookie=True)) as counter:
        with attach_tracepoint(counter.program, "syscalls", "sys_enter_getppid", cookie=99):
            os.getppid()
        assert (counter.count, counter.cookie) == (1, 99)


@pytest.mark.parametrize(
    ("category", "name", "suggestions"),
    [
        ("sched", "sched_swich", "sched:sched_switch"),
        ("syscall", "sys_enter_openat", "syscalls:sys_enter_openat"),
        ("schedd", "nothing_like_this", "sched"),
        ("", "", ""),
        ("..", "sched", ""),
    ],
)
def test_tracepoints_are_checked(category: str, name: str, suggestions: str) -> None:
    with loaded(ProgType.TRACEPOINT, counting()) as counter, nothing_left():
        with pytest.raises(TargetError) as caught:
            attach_tracepoint(counter.program, category, name)
        assert caught.value.suggestions[:1] == ((suggestions,) if suggestions else ())


def test_reading_behind_a_record_is_explained() -> None:
    with loaded(ProgType.TRACEPOINT, counting(value=register(4000))) as counter, nothing_left():
        with pytest.raises(BpfError, match="reads more of the record than this event has") as caught:
            attach_tracepoint(counter.program, "syscalls", "sys_enter_getppid")
        assert caught.value.errno == errno.EACCES


# ---------------------------------------------------------------- samples


def spin(seconds: float) -> None:
    end = time.process_time() + seconds
    while time.process_time() < end:
        pass


@pytest.mark.parametrize("method", [None, PerfMethod.IOCTL])
def test_samples_on_all_cpus(method: PerfMethod | None) -> None:
    with loaded(ProgType.PERF_EVENT, counting()) as counter, nothing_left():
        with attach_perf_event(
            counter.program, SoftwareEvent.CPU_CLOCK, frequency=1000, method=method
        ) as link:
            online = len(os.sched_getaffinity(0))
            if online > 1:
                assert isinstance(link, LinkGroup)
                assert len(link.parts) >= online
            spin(0.2)
            assert link.attached
        seen = counter.count
        assert seen > 20
        spin(0.05)
        assert counter.count == seen


def test_samples_of_all_threads_of_a_process() -> None:
    with loaded(ProgType.PERF_EVENT, counting(cookie=True)) as counter, nothing_left():
        stop = threading.Event()

        def wait_and_spin() -> None:
            stop.wait(10)
            spin(0.1)

        earlier = threading.Thread(target=wait_and_spin)
        earlier.start()
        with attach_perf_event(counter.program, SoftwareEvent.TASK_CLOCK, period=1_000_000, pid=0, cookie=7):
            stop.set()
            earlier.join()
            before = counter.count
            assert before > 10
            assert counter.cookie == 7
            later = threading.Thread(target=spin, args=(0.1,))
            later.start()
            later.join()
            assert counter.count > before + 10


def test_page_faults_are_counted_on_one_cpu() -> None:
    with loaded(ProgType.PERF_EVENT, counting()) as counter, nothing_left():
        cpu = min(os.sched_getaffinity(0))
        before = os.sched_getaffinity(0)
        os.sched_setaffinity(0, {cpu})
        try:
            with attach_perf_event(counter.program, SoftwareEvent.PAGE_FAULTS, period=1, cpu=cpu) as link:
                assert isinstance(link, PerfLink)
                import mmap

                with mmap.mmap(-1, 100 * mmap.PAGESIZE) as memory:
                    for page in range(100):
                        memory[page * mmap.PAGESIZE] = 1
        finally:
            os.sched_setaffinity(0, before)
        assert counter.count >= 90


def refusals() -> list[tuple[Callable[[Counter], object], type[Exception], str]]:
    clock = SoftwareEvent.CPU_CLOCK
    return [
        (lambda c: attach_perf_event(c.program, clock), ValueError, "how often"),
        (lambda c: attach_perf_event(c.program, clock, period=1, frequency=1), ValueError, "not both"),
        (lambda c: attach_perf_event(c.program, clock, period=0), ValueError, "positive"),
        (lambda c: attach_perf_event(c.program, clock, period=2**64 + 1), ValueError, "positive"),
        (lambda c: attach_perf_event(c.program, clock, period=1, cpu=-1), ValueError, "not negative"),
        (lambda c: attach_perf_event(c.program, clock, frequency=10**9), BpfError, "max_sample_rate"),
        (lambda c: attach_perf_event(c.program, clock, period=10**6, cpu=5000), BpfError, "no CPU 5000"),
        (lambda c: attach_perf_event(c.program, clock, frequency=9, cpu=5000), BpfError, "no CPU 5000"),
        # breakpoints need an address
        (lambda c: attach_perf_event(c.program, OtherEvent(0, 5), period=1), BpfError, "no such event"),
        (lambda c: attach_perf_event(c.program, clock, period=10**6, pid=2**22), BpfError, "no such process"),
        (
            lambda c: attach_perf_event(c.program, OtherEvent(0, 9999), period=1),
            NotSupported,
            "does not count",
        ),
    ]


@pytest.mark.parametrize("number", range(len(refusals())))
def test_samples_are_refused_with_the_reason(number: int) -> None:
    attach, kind, words = refusals()[number]
    with loaded(ProgType.PERF_EVENT, counting()) as counter, nothing_left(), pytest.raises(kind, match=words):
        attach(counter)


@pytest.mark.parametrize(
    ("pid", "code", "words"),
    [(0, errno.ESRCH, "no such process"), (None, errno.ENODEV, "no CPU that is online")],
)
def test_samples_of_what_ends_meanwhile_are_refused_with_the_reason(
    pid: int | None, code: int, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def gone(*args: object, **options: object) -> Fd:
        raise BpfError(code, Phase.ATTACH)

    monkeypatch.setattr("pyebpf.runtime.attach.perf_event.perf_event_open", gone)
    with loaded(ProgType.PERF_EVENT, counting()) as counter:
        with pytest.raises(BpfError, match=words) as caught:
            attach_perf_event(counter.program, SoftwareEvent.CPU_CLOCK, period=10**6, pid=pid)
        assert caught.value.errno == code


def test_events_of_the_processor_where_it_has_any() -> None:
    with loaded(ProgType.PERF_EVENT, counting()) as counter, nothing_left():
        try:
            link = attach_perf_event(counter.program, HardwareEvent.INSTRUCTIONS, period=1_000_000, pid=0)
        except NotSupported as refused:
            assert "a virtual machine often has no counters" in str(refused)
            return
        with link:
            spin(0.1)
        assert counter.count > 0


# ---------------------------------------------------------------- kprobes


def test_kprobes_work_or_say_what_the_kernel_lacks() -> None:
    with loaded(ProgType.KPROBE, counting()) as counter, nothing_left():
        with pytest.raises(TargetError, match="did you mean vfs_read"):
            attach_kprobe(counter.program, "vfs_raed")
        if not Path("/sys/bus/event_source/devices/kprobe").exists():
            with pytest.raises(NotSupported, match=r"no kprobes.*CONFIG_KPROBES"):
                attach_kprobe(counter.program, "vfs_read")
