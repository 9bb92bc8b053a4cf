"""What only kernels with kprobes, fentry and BPF as a security module have: real events of each kind.

Plain tests, run as root inside a guest (or anywhere else: they skip with the reason where the kernel cannot).
"""

from __future__ import annotations

import errno
import functools
import os
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

import pyebpf as bpf
from pyebpf import btf
from pyebpf.backend.insn import Insn, Jmp, Source, jump
from pyebpf.diagnostics import PyebpfError
from pyebpf.runtime.attach.kprobe import attach_kprobe, probe_pmu
from pyebpf.runtime.attach.multi import attach_kprobe_multi, attach_uprobe_multi
from pyebpf.runtime.attach.perf_open import PerfMethod
from pyebpf.runtime.attach.tracing import active_lsms, attach_tracing
from pyebpf.runtime.availability import Way
from pyebpf.runtime.errors import NotSupported, Problem, TargetError
from pyebpf.runtime.hooks import HookKind, hooks_for
from pyebpf.runtime.info import btf_bytes
from pyebpf.runtime.kernel_btf import vmlinux
from pyebpf.runtime.kernel_names import btf_functions
from pyebpf.runtime.kernel_symbols import (
    KernelSymbol,
    forbidden_functions,
    kernel_symbols,
    traceable_functions,
)
from pyebpf.runtime.listing import loaded_links
from pyebpf.runtime.pinned import open_pinned
from pyebpf.runtime.probe import load_minimal
from pyebpf.runtime.symbols import symbolize_kernel
from pyebpf.uapi.constants import AttachType, LinkType, ProgType
from tests.kernel.attach.programs import argument, btf_id, counting, load_traced, loaded, register, traced
from tests.kernel.attach.test_attach_perf import nothing_left
from tests.kernel.runtime.objects import exit_, mov
from tests.kernel.runtime.places import pin_directory

RAX = 80
FUNCTION = "__x64_sys_getpgid"
METHODS = [None, PerfMethod.LINK, PerfMethod.IOCTL, PerfMethod.TRACEFS]


@bpf.xdp
def passing(ctx: bpf.Xdp) -> int:
    """A program with a name, for others to be attached to."""
    return bpf.XDP_PASS


needs_kprobes = pytest.mark.skipif(probe_pmu("kprobe") is None, reason="this kernel has no kprobes")


def call_getpgid(times: int) -> None:
    """Make a system call that nothing else makes often."""
    for _ in range(times):
        os.getpgid(0)


@functools.cache
def trampolines() -> str:
    """Why this kernel runs no fentry programs; empty if it does."""
    try:
        load_minimal(ProgType.TRACING, AttachType.TRACE_FENTRY, attach_btf_id=btf_id(FUNCTION)).close()
    except (PyebpfError, IndexError) as refused:
        return str(refused) or f"the kernel's type information has no {FUNCTION}"
    return ""


needs_fentry = pytest.mark.skipif(bool(trampolines()), reason=f"no fentry here: {trampolines()}")


# ---------------------------------------------------------------- kprobes


@needs_kprobes
@pytest.mark.parametrize("method", METHODS)
def test_a_kprobe_counts_calls(method: PerfMethod | None) -> None:
    with loaded(ProgType.KPROBE, counting()) as counter, nothing_left():
        with attach_kprobe(counter.program, FUNCTION, method=method):
            call_getpgid(6)
        assert counter.count == 6
        call_getpgid(2)
        assert counter.count == 6


@needs_kprobes
@pytest.mark.parametrize("method", [None, PerfMethod.TRACEFS])
def test_a_kretprobe_sees_the_result(method: PerfMethod | None) -> None:
    with loaded(ProgType.KPROBE, counting(value=register(RAX))) as counter, nothing_left():
        with attach_kprobe(counter.program, FUNCTION, returns=True, method=method):
            group = os.getpgid(0)
        assert (counter.count, counter.value) == (1, group)


@needs_kprobes
@pytest.mark.parametrize("method", [None, PerfMethod.TRACEFS])
def test_a_kprobe_has_its_cookie(method: PerfMethod | None) -> None:
    with loaded(ProgType.KPROBE, counting(cookie=True)) as counter, nothing_left():
        with attach_kprobe(counter.program, FUNCTION, cookie=2**40 + 1, method=method):
            call_getpgid(1)
        assert (counter.count, counter.cookie) == (1, 2**40 + 1)


@needs_kprobes
def test_a_kprobe_at_an_address_and_an_offset() -> None:
    address = kernel_symbols().find(FUNCTION)[0].address
    with loaded(ProgType.KPROBE, counting()) as counter, nothing_left():
        for method in (None, PerfMethod.TRACEFS):
            before = counter.count
            with attach_kprobe(counter.program, address - 16, offset=16, method=method):
                call_getpgid(3)
            assert counter.count == before + 3
        # some instruction starts within the first bytes after the one that functions begin with
        attached = 0
        for offset in range(5, 24):
            try:
                with attach_kprobe(counter.program, FUNCTION, offset=offset):
                    attached += 1
                    call_getpgid(1)
            except TargetError as refused:
                assert refused.problem is Problem.BAD_OFFSET, refused
        assert attached >= 2
        assert counter.count >= 7
        with pytest.raises(TargetError, match="0x7ffff is outside") as caught:
            attach_kprobe(counter.program, FUNCTION, offset=0x7FFFF)
        assert caught.value.problem is Problem.BAD_OFFSET
        with pytest.raises(TargetError, match="no instruction of the kernel"):
            attach_kprobe(counter.program, 0x1234)


@needs_kprobes
def test_functions_for_kprobes_are_checked() -> None:
    with loaded(ProgType.KPROBE, counting()) as counter, nothing_left():
        with pytest.raises(TargetError, match="did you mean vfs_read") as caught:
            attach_kprobe(counter.program, "vfs_raed")
        assert caught.value.problem is Problem.UNKNOWN
        with pytest.raises(TargetError) as caught:
            attach_kprobe(counter.program, "jiffies")
        assert caught.value.problem is Problem.NOT_A_FUNCTION
        with pytest.raises(TargetError, match="is not in module 'nosuch'"):
            attach_kprobe(counter.program, "nosuch:vfs_read")
        assert forbidden_functions(), "debugfs is mounted in guests"
        forbidden = next(
            f for f in sorted(forbidden_functions()) if kernel_symbols().find(f) and "." not in f
        )
        with pytest.raises(TargetError) as caught:
            attach_kprobe(counter.program, forbidden)
        assert caught.value.problem is Problem.BLACKLISTED


@needs_kprobes
def test_functions_that_the_compiler_changed_are_told() -> None:
    symbols = kernel_symbols()
    changed = [f for f in symbols.functions() if ".isra." in f or ".constprop." in f]
    base = next(f.partition(".")[0] for f in changed if not symbols.find(f.partition(".")[0]))
    with loaded(ProgType.KPROBE, counting()) as counter, nothing_left():
        with pytest.raises(TargetError, match="the compiler made other functions out of") as caught:
            attach_kprobe(counter.program, base)
        assert caught.value.problem is Problem.INLINED
        assert any(name.startswith(f"{base}.") for name in caught.value.suggestions)


@needs_kprobes
def test_functions_without_a_place_for_probes_are_told() -> None:
    """A function that ftrace cannot trace takes no kprobe in kernels that are built so."""
    symbols, traceable = kernel_symbols(), traceable_functions()
    assert traceable is not None
    assert len(traceable) > 10_000
    untraced = [f for f in symbols.functions() if f.startswith("trace_raw_output_") and f not in traceable][
        :5
    ]
    assert untraced
    with loaded(ProgType.KPROBE, counting(any_process=True)) as counter, nothing_left():
        for name in untraced:
            with pytest.raises(TargetError, match="it is marked notrace") as caught:
                attach_kprobe(counter.program, name)
            assert caught.value.problem is Problem.NOTRACE


def function_of_a_module() -> KernelSymbol:
    symbols, traceable = kernel_symbols(), traceable_functions() or ()
    modules = [
        s for f in sorted(traceable) for s in symbols.find(f)[:1] if s.module and len(symbols.find(f)) == 1
    ]
    if not modules:
        pytest.skip("no module is loaded")
    return modules[0]


@needs_kprobes
def test_functions_of_modules() -> None:
    found = function_of_a_module()
    with loaded(ProgType.KPROBE, counting()) as counter, nothing_left():
        attach_kprobe(counter.program, f"{found.module}:{found.name}").close()
        attach_kprobe(counter.program, found.name).close()
        attach_kprobe(counter.program, f"{found.module}:{found.name}", method=PerfMethod.TRACEFS).close()
        with pytest.raises(TargetError, match=f"did you mean {found.module}:{found.name}"):
            attach_kprobe(counter.program, f"other:{found.name}")
    assert symbolize_kernel([found.address])[0].module == found.module


@needs_fentry
def test_functions_that_no_trampoline_can_be_put_on_are_told() -> None:
    traceable = traceable_functions()
    assert traceable is not None
    names = btf_functions()
    untraced = next(f for f in names if f.startswith("trace_event_raw_event_") and f not in traceable)
    with load_traced([mov(0, 0), exit_], AttachType.TRACE_FENTRY, names[untraced]) as program, nothing_left():
        with pytest.raises(TargetError, match=f"'{untraced}' is not in available_filter") as caught:
            attach_tracing(program)
        assert caught.value.problem is Problem.NOTRACE
    (hook,) = [h for h in hooks_for(FUNCTION) if h.kind is HookKind.FUNCTION]
    assert {Way.FENTRY, Way.FEXIT, Way.KPROBE, Way.KRETPROBE} <= set(hook.ways)
    (hook,) = [h for h in hooks_for(untraced) if h.kind is HookKind.FUNCTION]
    assert "notrace" in {r.way: r.reason for r in hook.refused}[Way.FENTRY]


@needs_kprobes
def test_a_pinned_kprobe_outlives_its_object() -> None:
    with loaded(ProgType.KPROBE, counting()) as counter, pin_directory() as pins, nothing_left():
        link = attach_kprobe(counter.program, FUNCTION)
        link.pin(pins / "link")
        link.close()
        call_getpgid(2)
        assert counter.count == 2
        open_pinned(pins / "link").detach()  # type: ignore[union-attr]  # it is a link
        call_getpgid(2)
        assert counter.count == 2
        with (
            attach_kprobe(counter.program, FUNCTION, method=PerfMethod.TRACEFS) as other,
            pytest.raises(NotSupported),
        ):
            other.pin(pins / "other")


@needs_kprobes
@pytest.mark.parametrize("method", METHODS)
def test_kprobes_again_and_again_leave_nothing(method: PerfMethod | None) -> None:
    with loaded(ProgType.KPROBE, counting()) as counter, nothing_left():
        for _ in range(5):
            attach_kprobe(counter.program, FUNCTION, method=method).close()
            attach_kprobe(counter.program, FUNCTION, method=method, returns=True).detach()


# ---------------------------------------------------------------- many functions


@contextmanager
def or_skip() -> Iterator[None]:
    """Skip where the kernel says that it does not have it."""
    try:
        yield
    except NotSupported as refused:
        assert "which came with Linux" in str(refused)
        pytest.skip(str(refused))


@pytest.mark.kernels(since=(6, 12))
def test_kprobe_multi() -> None:
    code = counting(cookie=True)
    with loaded(ProgType.KPROBE, code, AttachType.TRACE_KPROBE_MULTI) as counter, nothing_left():
        with or_skip():
            link = attach_kprobe_multi(counter.program, {FUNCTION: 3, "__x64_sys_getpriorit*": 4})
        with link:
            assert link.info().type is LinkType.KPROBE_MULTI
            call_getpgid(2)
            assert (counter.count, counter.cookie) == (2, 3)
            os.getpriority(os.PRIO_PROCESS, 0)
            assert (counter.count, counter.cookie) == (3, 4)
        call_getpgid(1)
        assert counter.count == 3
        with pytest.raises(TargetError, match="no function of the kernel matches"):
            attach_kprobe_multi(counter.program, "no_such_*")


@pytest.mark.kernels(since=(6, 12))
def test_kprobe_multi_on_functions_of_a_module() -> None:
    found = function_of_a_module()
    code = counting(cookie=True)
    with loaded(ProgType.KPROBE, code, AttachType.TRACE_KPROBE_MULTI) as counter, nothing_left():
        with or_skip():
            link = attach_kprobe_multi(counter.program, {f"{found.module}:{found.name}": 3, FUNCTION: 4})
        with link:
            call_getpgid(2)
            assert (counter.count, counter.cookie) == (2, 4)
        attach_kprobe_multi(counter.program, f"{found.module}:{found.name[:-1]}*").close()


@pytest.mark.kernels(since=(6, 12))
def test_kprobe_multi_at_returns_and_with_hundreds() -> None:
    code = counting(value=register(RAX))
    with loaded(ProgType.KPROBE, code, AttachType.TRACE_KPROBE_MULTI) as counter, nothing_left():
        with or_skip():
            link = attach_kprobe_multi(counter.program, [FUNCTION], returns=True)
        with link:
            group = os.getpgid(0)
        assert (counter.count, counter.value) == (1, group)
        with attach_kprobe_multi(counter.program, "__x64_sys_*") as link:
            call_getpgid(1)
            assert link.attached
        assert counter.count > 1


@pytest.mark.kernels(since=(6, 12))
def test_kprobe_session() -> None:
    with loaded(ProgType.KPROBE, counting(), AttachType.TRACE_KPROBE_SESSION) as counter, nothing_left():
        with or_skip():
            link = attach_kprobe_multi(counter.program, FUNCTION)
        with link:
            call_getpgid(3)
        assert counter.count == 6
    with loaded(ProgType.KPROBE, counting(result=1), AttachType.TRACE_KPROBE_SESSION) as counter:
        with attach_kprobe_multi(counter.program, FUNCTION):
            call_getpgid(3)
        assert counter.count == 3


@pytest.mark.kernels(since=(6, 12))
def test_uprobe_multi() -> None:
    with loaded(ProgType.KPROBE, counting(), AttachType.TRACE_UPROBE_MULTI) as counter, nothing_left():
        with or_skip():
            link = attach_uprobe_multi(counter.program, "libc", ["getppid", "getpgid"])
        with link:
            call_getpgid(2)
            os.getppid()
        assert counter.count == 3


@pytest.mark.kernels(since=(6, 13))
def test_uprobe_session() -> None:
    with loaded(ProgType.KPROBE, counting(), AttachType.TRACE_UPROBE_SESSION) as counter, nothing_left():
        with or_skip():
            link = attach_uprobe_multi(counter.program, "libc", "getpgid")
        with link:
            call_getpgid(2)
        assert counter.count == 4


# ---------------------------------------------------------------- trampolines


@needs_fentry
@pytest.mark.parametrize("cookie", [0, 12])
def test_fentry(cookie: int) -> None:
    with traced(counting(cookie=True), AttachType.TRACE_FENTRY, btf_id(FUNCTION)) as counter, nothing_left():
        with attach_tracing(counter.program, cookie=cookie) as link:
            assert link.info().type is LinkType.TRACING
            call_getpgid(4)
        assert (counter.count, counter.cookie) == (4, cookie)
        call_getpgid(1)
        assert counter.count == 4


@needs_fentry
def test_fexit_sees_the_result() -> None:
    with (
        traced(counting(value=argument(1)), AttachType.TRACE_FEXIT, btf_id(FUNCTION)) as counter,
        nothing_left(),
    ):
        with attach_tracing(counter.program):
            group = os.getpgid(0)
        assert (counter.count, counter.value) == (1, group)


@needs_fentry
def test_a_pinned_fentry() -> None:
    with traced(counting(), AttachType.TRACE_FENTRY, btf_id(FUNCTION)) as counter, pin_directory() as pins:
        link = attach_tracing(counter.program)
        link.pin(pins / "link")
        link.close()
        call_getpgid(1)
        assert counter.count == 1
        open_pinned(pins / "link").detach()  # type: ignore[union-attr]  # it is a link
        call_getpgid(1)
        assert counter.count == 1


@needs_fentry
def test_links_at_functions_of_the_kernel_and_of_a_program_are_listed() -> None:
    watched = passing.load()
    number = btf.Spec(btf_bytes(watched.info().btf_id)).ids("passing", btf.Kind.FUNC)[0]
    of_program = f"program {watched.info().id} passing"
    for target, other, told in ((btf_id(FUNCTION), None, FUNCTION), (number, watched, of_program)):
        with (
            load_traced([mov(0, 0), exit_], AttachType.TRACE_FENTRY, target, other=other) as program,
            attach_tracing(program) as link,
        ):
            (found,) = [each for each in loaded_links() if each.id == link.info().id]
            assert found.target == told


def denies(error: int) -> list[Insn]:
    """A program that lets this process do something no longer, and everybody else as before."""
    pid = os.getpid()
    return [
        Insn(0x85, imm=14),
        Insn(0x77, 0, imm=32),
        Insn(jump(Jmp.JEQ, Source.K), 0, imm=pid, offset=2),
        mov(0, 0),
        exit_,
        mov(0, -error),
        exit_,
    ]


@needs_fentry
def test_fmod_ret_of_a_security_function() -> None:
    target = btf_id("security_file_open")
    with load_traced(denies(errno.EPERM), AttachType.MODIFY_RETURN, target) as program, nothing_left():
        with attach_tracing(program):
            with pytest.raises(PermissionError):
                os.open("/etc/hostname", os.O_RDONLY)
            assert os.system("cat /etc/passwd >/dev/null") == 0
        os.close(os.open("/etc/passwd", os.O_RDONLY))


def test_lsm() -> None:
    if not vmlinux().ids("bpf_lsm_file_open", btf.Kind.FUNC):
        pytest.skip("this kernel has no BPF as a security module (CONFIG_BPF_LSM)")
    if trampolines():
        pytest.skip(trampolines())
    target = btf_id("bpf_lsm_file_open")
    program = load_traced(denies(errno.EACCES), AttachType.LSM_MAC, target, prog_type=ProgType.LSM)
    with program, nothing_left():
        if active_lsms() is not None and "bpf" not in (active_lsms() or ()):
            with pytest.raises(NotSupported, match="not among the active security modules"):
                attach_tracing(program)
            pytest.skip(f"the guest was not booted with BPF as a security module: {active_lsms()}")
        with attach_tracing(program):
            with pytest.raises(PermissionError):
                os.open("/etc/hostname", os.O_RDONLY)
            assert os.system("cat /etc/passwd >/dev/null") == 0
        os.close(os.open("/etc/passwd", os.O_RDONLY))


# ---------------------------------------------------------------- names


def test_addresses_of_the_kernel_have_names() -> None:
    address = kernel_symbols().find(FUNCTION)[0].address
    found = symbolize_kernel([address, address + 4, 0x10])
    assert [(s.name, s.offset) for s in found] == [(FUNCTION, 0), (FUNCTION, 4), ("", 0)]
