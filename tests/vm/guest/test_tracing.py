"""Kinds of tracing programs that need kprobes or trampolines: each sees a real event, with its arguments."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

import pyebpf as bpf
from pyebpf import i32, i64, u32, u64
from pyebpf.kernel import file, filename, path
from pyebpf.runtime.availability import Way, obstacle

bpf.license("GPL")
seen = bpf.ArrayMap[u32, i64](max_entries=32)
mine = bpf.Const[u32](os.getpid())


@bpf.struct
class Text:
    text: bytes = bpf.chars(64)


texts = bpf.HashMap[u32, Text](max_entries=8)


@bpf.kprobe("do_unlinkat")
def entered(dfd: int, name: filename, ctx: bpf.PtRegs) -> None:
    if u32(bpf.get_current_pid_tgid() >> 32) == mine.value:
        texts.update(0, Text(text=bpf.str_from_kernel(name.name, 64)))
        seen[0] = i64(bpf.get_attach_cookie(ctx))


@bpf.kretprobe("do_unlinkat")
def returned(retval: i64) -> None:
    if u32(bpf.get_current_pid_tgid() >> 32) == mine.value:
        seen[1] = retval


@bpf.ksyscall("write")
def call(fd: u32, buf: bpf.User[bytes], count: u64) -> int:
    if u32(bpf.get_current_pid_tgid() >> 32) == mine.value and count == 1234:
        seen[2] = fd
        seen[3] += 1
        texts.update(1, Text(text=bpf.str_from_user(buf, 64)))
    return 0


@bpf.kretsyscall("write")
def called(retval: i64) -> None:
    if u32(bpf.get_current_pid_tgid() >> 32) == mine.value and retval == 1234:
        seen[4] += 1


@bpf.kprobe_multi("vfs_unlin*")
def several(ctx: bpf.PtRegs) -> None:
    if u32(bpf.get_current_pid_tgid() >> 32) == mine.value:
        seen[5] += 1


@bpf.kprobe_session("vfs_unlin*")
def session(ctx: bpf.PtRegs) -> int:
    if u32(bpf.get_current_pid_tgid() >> 32) == mine.value:
        seen[6] += 1
    return 0


@bpf.uprobe_multi("libc", "abs")
def functions(number: i32) -> None:
    seen[7] = number


@bpf.fentry("do_unlinkat")
def entry(dfd: int, name: filename) -> None:
    if u32(bpf.get_current_pid_tgid() >> 32) == mine.value:
        texts.update(2, Text(text=bpf.str_from_kernel(name.name, 64)))


@bpf.fexit("do_unlinkat")
def exit_(dfd: int, name: filename, retval: int) -> None:
    if u32(bpf.get_current_pid_tgid() >> 32) == mine.value:
        seen[8] = retval
        seen[9] = dfd


@bpf.fexit("security_file_open")
def named(opened: file, retval: int) -> None:
    text = bpf.chars(64)
    if u32(bpf.get_current_pid_tgid() >> 32) == mine.value and bpf.d_path(opened.f_path, text, 64) > 0:
        texts.update(3, Text(text=text))


@bpf.fmod_ret("security_path_unlink")
def kept(dir: path, dentry: u64, retval: i32) -> int:
    if u32(bpf.get_current_pid_tgid() >> 32) == mine.value:
        return -1
    return 0


@bpf.lsm("file_open")
def denied(opened: file, retval: i32) -> int:
    name = bpf.str_from_kernel(opened.f_path.dentry.d_name.name, 32)
    if u32(bpf.get_current_pid_tgid() >> 32) == mine.value and name == b"secret.txt":
        return -13
    return 0


def needs(way: Way) -> None:
    """Skip where the kernel cannot, with its reason."""
    reason = obstacle(way)
    if reason:
        pytest.skip(reason)


@pytest.fixture
def victim(tmp_path: Path) -> Path:
    """A file to remove."""
    made = tmp_path / "victim"
    made.write_text("")
    return made


def test_kprobe_and_kretprobe(victim: Path) -> None:
    needs(Way.KPROBE)
    with entered.attach(cookie=7), returned.attach():
        os.unlink(victim)
        assert texts[0].text == bytes(victim)[:63]
        assert (seen[0], seen[1]) == (7, 0)
        with pytest.raises(FileNotFoundError):
            os.unlink(victim)
        assert seen[1] == -errno.ENOENT


def test_system_calls() -> None:
    needs(Way.KPROBE)
    with call.attach(), called.attach(), open("/dev/null", "wb", buffering=0) as null:
        null.write(b"what is written".ljust(1234, b"\0"))
        null.write(bytes(99))
        assert (seen[2], seen[3], seen[4]) == (null.fileno(), 1, 1)
        assert texts[1].text == b"what is written"


@pytest.mark.kernels(since=(6, 12))
def test_many_functions(victim: Path) -> None:
    needs(Way.KPROBE_MULTI)
    with several.attach():
        os.unlink(victim)
        assert seen[5] >= 1  # more on file systems upon others


@pytest.mark.kernels(since=(6, 12))
def test_sessions(victim: Path) -> None:
    needs(Way.KPROBE_MULTI)
    with session.attach():
        os.unlink(victim)
        assert seen[6] >= 2  # at the beginning and at the end
        assert seen[6] % 2 == 0


@pytest.mark.kernels(since=(6, 12))
def test_many_functions_of_a_file() -> None:
    import ctypes

    with functions.attach(pid=0):
        ctypes.CDLL(None).abs(-5)
        assert seen[7] == -5


def test_functions_by_type(victim: Path) -> None:
    needs(Way.FENTRY)
    with entry.attach(), exit_.attach():
        with pytest.raises(FileNotFoundError):
            os.unlink(f"{victim}-not")
        assert texts[2].text == bytes(f"{victim}-not", "utf-8")[:63]
        assert (seen[8], seen[9]) == (-errno.ENOENT, -100)


def test_paths(victim: Path) -> None:
    needs(Way.FEXIT)
    with named.attach():
        os.close(os.open(victim, os.O_RDONLY))
        assert texts[3].text.endswith(b"/victim")


def test_changed_results(victim: Path) -> None:
    needs(Way.FMOD_RET)
    with kept.attach():
        with pytest.raises(PermissionError):
            os.unlink(victim)
        assert victim.exists()
    os.unlink(victim)


def test_security_hooks(tmp_path: Path) -> None:
    needs(Way.LSM)
    secret, other = tmp_path / "secret.txt", tmp_path / "other.txt"
    secret.write_text("")
    other.write_text("told")
    with denied.attach():
        with pytest.raises(PermissionError):
            secret.read_text()
        assert other.read_text() == "told"
    assert secret.read_text() == ""
