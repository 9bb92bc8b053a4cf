"""Every kind of tracing program, one event of each: attached, made to happen, and seen with its content.

``python -m tests.vm.kinds`` runs this on the running kernel and in all guests, and prints the table.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import pyebpf as bpf
from pyebpf import i32, i64, u32, u64
from pyebpf.kernel import bpf_iter_meta, file, filename, path, task_struct
from pyebpf.runtime.availability import Way, obstacle
from pyebpf.runtime.info import kernel_release
from pyebpf.runtime.kernel_symbols import kernel_symbols
from pyebpf.uapi.programs_tracing import TRACING_KINDS
from tests import usdt_shop
from tests.vm.report import REASONS

bpf.license("GPL")
number = bpf.ArrayMap[u32, i64](max_entries=1)
mine = bpf.Const[u32](os.getpid())
NOTHING = -(1 << 40)
SIZE = 1234

GETPPID = 110


@bpf.struct
class Text:
    text: bytes = bpf.chars(64)


text = bpf.HashMap[u32, Text](max_entries=1)


@bpf.inline
def is_mine() -> bool:
    return u32(bpf.get_current_pid_tgid() >> 32) == mine.value


@bpf.kprobe("do_unlinkat")
def kprobe(dfd: int, name: filename) -> None:
    if is_mine():
        text.update(0, Text(text=bpf.str_from_kernel(name.name, 64)))


@bpf.kretprobe("do_unlinkat")
def kretprobe(retval: i32) -> None:
    if is_mine():
        number[0] = retval


@bpf.kprobe_multi("do_unlinka?")
def kprobe_multi(dfd: int, name: filename) -> None:
    if is_mine():
        text.update(0, Text(text=bpf.str_from_kernel(name.name, 64)))


@bpf.kretprobe_multi("do_unlinka?")
def kretprobe_multi(retval: i32) -> None:
    if is_mine():
        number[0] = retval


@bpf.kprobe_session("do_unlinka?")
def kprobe_session(ctx: bpf.PtRegs) -> int:
    if is_mine():
        number[0] += 1
    return 0


@bpf.ksyscall("write")
def ksyscall(fd: u32, buf: bpf.User[bytes], count: u64) -> None:
    if is_mine() and count == SIZE:
        text.update(0, Text(text=bpf.str_from_user(buf, 64)))


@bpf.kretsyscall("write")
def kretsyscall(retval: i64) -> None:
    if is_mine() and retval == SIZE:
        number[0] = retval


@bpf.uprobe("libc", "getenv")
def uprobe(name: bpf.User[bytes]) -> None:
    text.update(0, Text(text=bpf.str_from_user(name, 64)))


@bpf.uretprobe("libc", "abs")
def uretprobe(retval: i32) -> None:
    number[0] = retval


@bpf.uprobe_multi("libc", "abs")
def uprobe_multi(value: i32) -> None:
    number[0] = value


@bpf.uretprobe_multi("libc", "abs")
def uretprobe_multi(retval: i32) -> None:
    number[0] = retval


@bpf.usdt
def usdt(small: i32, large: i64, constant: i32) -> None:
    number[0] = small * large * constant


@bpf.usdt(sleepable=True)
def sleepable_usdt(small: i32, large: i64) -> None:
    number[0] = small * large


@bpf.tracepoint("syscalls", "sys_enter_openat")
def tracepoint(ctx: bpf.Tracepoint) -> None:
    if is_mine():
        text.update(0, Text(text=bpf.str_from_user(ctx.filename, 64)))


@bpf.raw_tracepoint("sys_enter")
def raw_tracepoint(regs: u64, call: int) -> None:
    if is_mine() and call == GETPPID:
        number[0] = call


@bpf.raw_tracepoint_writable("bpf_test_finish")
def raw_tracepoint_writable(error: u64) -> None:
    if is_mine():
        number[0] = bpf.read_kernel(i32, error)


@bpf.tp_btf("sys_enter")
def tp_btf(regs: u64, call: int) -> None:
    if is_mine() and call == GETPPID:
        number[0] = call


@bpf.fentry("do_unlinkat")
def fentry(dfd: int, name: filename) -> None:
    if is_mine():
        text.update(0, Text(text=bpf.str_from_kernel(name.name, 64)))


@bpf.fexit("do_unlinkat")
def fexit(dfd: int, name: filename, retval: i32) -> None:
    if is_mine():
        number[0] = retval


@bpf.fmod_ret("security_path_unlink")
def fmod_ret(dir: path, dentry: u64, retval: i32) -> int:
    if is_mine():
        return -errno.EXDEV
    return 0


@bpf.lsm("file_open")
def lsm(opened: file) -> int:
    name = bpf.str_from_kernel(opened.f_path.dentry.d_name.name, 32)
    if is_mine() and name == b"secret.txt":
        return -errno.EXDEV
    return 0


@bpf.fentry("__x64_sys_getppid", sleepable=True)
def sleepable_fentry() -> None:
    if is_mine():
        number[0] = 1


@bpf.fexit("__x64_sys_getppid", sleepable=True)
def sleepable_fexit(retval: i64) -> None:
    if is_mine():
        number[0] = retval


@bpf.fmod_ret("__x64_sys_getppid", sleepable=True)
def sleepable_fmod_ret(retval: i64) -> int:
    if is_mine():
        return 17
    return 0


@bpf.lsm("file_open", sleepable=True)
def sleepable_lsm(opened: file) -> int:
    name = bpf.str_from_kernel(opened.f_path.dentry.d_name.name, 32)
    if is_mine() and name == b"secret.txt":
        return -errno.EXDEV
    return 0


@bpf.uprobe("libc", "abs", sleepable=True)
def sleepable_uprobe(value: i32) -> None:
    number[0] = value


@bpf.iter("task")
def iter_(meta: bpf_iter_meta, task: task_struct) -> None:
    if task is not None and u32(task.tgid) == mine.value:
        number[0] = task.real_parent.tgid


@bpf.perf_event
def perf_event(ctx: bpf.PerfEvent) -> None:
    if is_mine() and ctx.ip != 0:
        number[0] = 1


# ---------------------------------------------------------------- what makes them happen


@bpf.xdp
def passing(ctx: bpf.Xdp) -> int:
    return bpf.XDP_PASS


def libc() -> ctypes.CDLL:
    return ctypes.CDLL(None)


def unlink(_: Path) -> None:
    with contextlib.suppress(FileNotFoundError):
        os.unlink("/no/such/file")


def write(_: Path) -> None:
    with open("/dev/null", "wb", buffering=0) as null:
        null.write(b"what is written".ljust(SIZE, b"\0"))


def getppid(_: Path) -> None:
    if os.getppid() == 17:
        number[0] = 17


def read_all(_: Path) -> None:
    iter_.read()


def compute(_: Path) -> None:
    end = time.monotonic() + 1
    while time.monotonic() < end:
        pass


def failing(call: Callable[[Path], object]) -> Callable[[Path], None]:
    """The result of the call, as ``kretprobe`` would see it."""

    def use(folder: Path) -> None:
        try:
            call(folder)
        except OSError as error:
            number[0] = -(error.errno or 0)

    return use


def remove(folder: Path) -> None:
    victim = folder / "victim"
    victim.write_text("")
    os.unlink(victim)


def open_secret(folder: Path) -> None:
    os.close(os.open(folder / "secret.txt", os.O_RDWR | os.O_CREAT))


def sell(folder: Path) -> None:
    ctypes.CDLL(str(folder / "libshop.so")).work(ctypes.c_int(-3), ctypes.c_long(5))


def shop(folder: Path) -> Mapping[str, Any]:
    """Where the probe of a sale is, in a library that is compiled now."""
    return {"binary": usdt_shop.build(folder), "provider": "shop", "name": "sale"}


@dataclass(frozen=True, slots=True)
class Kind:
    """A program, what makes its event happen, and what it leaves: a number or a text. ``way``: what a kernel must have;
    ``since``: where no part of the kernel can be asked whether it is there. ``how``: what attaching is told, which may need
    something made in the folder. ``injects``: programs may sleep at functions that errors can be injected into."""

    program: Any
    happens: Callable[[Path], object]
    leaves: int | bytes
    way: Way | None = None
    since: tuple[int, int] = (0, 0)
    how: Callable[[Path], Mapping[str, Any]] = lambda _: {}
    injects: bool = False


_MISSING = b"/no/such/file"
CASES: dict[str, Kind] = {
    "kprobe": Kind(kprobe, unlink, _MISSING, Way.KPROBE),
    "kretprobe": Kind(kretprobe, unlink, -errno.ENOENT, Way.KRETPROBE),
    "kprobe_multi": Kind(kprobe_multi, unlink, _MISSING, Way.KPROBE_MULTI),
    "kretprobe_multi": Kind(kretprobe_multi, unlink, -errno.ENOENT, Way.KPROBE_MULTI),
    "kprobe_session": Kind(kprobe_session, unlink, 2, Way.KPROBE_MULTI),
    "ksyscall": Kind(ksyscall, write, b"what is written", Way.KSYSCALL),
    "kretsyscall": Kind(kretsyscall, write, SIZE, Way.KSYSCALL),
    "uprobe": Kind(uprobe, lambda _: libc().getenv(b"WHICH_ONE"), b"WHICH_ONE"),
    "uretprobe": Kind(uretprobe, lambda _: libc().abs(-7), 7),
    "uprobe_multi": Kind(uprobe_multi, lambda _: libc().abs(-5), -5, since=(6, 6)),
    "uretprobe_multi": Kind(uretprobe_multi, lambda _: libc().abs(-6), 6, since=(6, 6)),
    "usdt": Kind(usdt, sell, 3 * 5 * 7, how=shop),
    "tracepoint": Kind(tracepoint, failing(lambda _: os.open("/no/such/file", os.O_RDONLY)), _MISSING),
    "raw_tracepoint": Kind(raw_tracepoint, getppid, GETPPID),
    "raw_tracepoint_writable": Kind(raw_tracepoint_writable, lambda _: passing.run(bytes(64)), 0),
    "tp_btf": Kind(tp_btf, getppid, GETPPID, Way.TP_BTF),
    "fentry": Kind(fentry, unlink, _MISSING, Way.FENTRY),
    "fexit": Kind(fexit, unlink, -errno.ENOENT, Way.FEXIT),
    "fmod_ret": Kind(fmod_ret, failing(remove), -errno.EXDEV, Way.FMOD_RET),
    "lsm": Kind(lsm, failing(open_secret), -errno.EXDEV, Way.LSM),
    "iter": Kind(iter_, read_all, os.getppid(), Way.ITER),
    "perf_event": Kind(perf_event, compute, 1, how=lambda _: {"frequency": 200, "pid": 0}),
    "fentry, sleepable": Kind(sleepable_fentry, getppid, 1, Way.FENTRY, injects=True),
    "fexit, sleepable": Kind(sleepable_fexit, getppid, os.getppid(), Way.FEXIT, injects=True),
    "fmod_ret, sleepable": Kind(sleepable_fmod_ret, getppid, 17, Way.FMOD_RET, injects=True),
    "lsm, sleepable": Kind(sleepable_lsm, failing(open_secret), -errno.EXDEV, Way.LSM),
    "uprobe, sleepable": Kind(sleepable_uprobe, lambda _: libc().abs(-4), -4),
    "usdt, sleepable": Kind(sleepable_usdt, sell, -15, how=shop),
}
SLEEPABLE = {name for name in CASES if name.endswith("sleepable")}


def missing(kind: Kind) -> str:
    """Why this kernel cannot."""
    running = kernel_release()
    if running < kind.since:
        return f"Linux {kind.since[0]}.{kind.since[1]} and later have it, this is {running[0]}.{running[1]}"
    reason = obstacle(kind.way) if kind.way else ""
    if not reason and kind.injects and not kernel_symbols().find("within_error_injection_list"):
        reason = "this kernel was built without CONFIG_FUNCTION_ERROR_INJECTION"
    return reason


@pytest.mark.skipif(os.geteuid() != 0, reason="tracing needs root")
@pytest.mark.parametrize("name", CASES)
def test_an_event_is_seen_or_attaching_is_refused(name: str, tmp_path: Path) -> None:
    kind = CASES[name]
    reason = missing(kind)
    if reason:
        with pytest.raises(bpf.PyebpfError):
            kind.program.attach(**kind.how(tmp_path))
        if REASONS in os.environ:
            pytest.skip(reason)
        return
    if name == "raw_tracepoint_writable":
        passing.load()
    number[0] = NOTHING if name != "kprobe_session" else 0
    text.clear()
    with kind.program.attach(**kind.how(tmp_path)):
        kind.happens(tmp_path)
    seen = text[0].text if isinstance(kind.leaves, bytes) else number[0]
    assert seen == kind.leaves
    kind.program.close()


def test_every_kind_is_here() -> None:
    assert set(CASES) == {kind.name for kind in TRACING_KINDS} | SLEEPABLE
