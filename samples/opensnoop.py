"""Tracepoints: which files programs open, and what came of it (`open(2)`, `openat(2)` and `openat2(2)`)."""

from __future__ import annotations

import contextlib
import os

from tool import seconds, until

import pyebpf as bpf
from pyebpf import i32, u32, u64

bpf.license("GPL")


@bpf.struct
class Opened:
    """A file that was opened, or not: ``result`` is a descriptor or a negative error number."""

    pid: u32
    result: i32
    comm: bytes = bpf.chars(16)
    path: bytes = bpf.chars(128)


opened = bpf.RingBuf[Opened](1 << 20)
paths = bpf.HashMap[u64, u64](max_entries=10_240)  # by thread, from the beginning of the call to its end


def begin(path: u64) -> None:
    """Remember where the path is."""
    paths.update(bpf.get_current_pid_tgid(), path)


def end(result: i32) -> None:
    """Report the call; the path has been read by the kernel, so it is in memory now."""
    thread = bpf.get_current_pid_tgid()
    path = paths.get(thread)
    if path is None:
        return
    paths.delete(thread)
    with opened.reserve(Opened) as event:
        if event is not None:
            event.pid = u32(thread >> 32)
            event.result = result
            event.comm = bpf.get_current_comm()
            event.path = bpf.str_from_user(path, 128)


@bpf.tracepoint("syscalls", "sys_enter_open")
def enter_open(ctx: bpf.Tracepoint) -> None:
    begin(ctx.filename)


@bpf.tracepoint("syscalls", "sys_enter_openat")
def enter_openat(ctx: bpf.Tracepoint) -> None:
    begin(ctx.filename)


@bpf.tracepoint("syscalls", "sys_enter_openat2")
def enter_openat2(ctx: bpf.Tracepoint) -> None:
    begin(ctx.filename)


@bpf.tracepoint("syscalls", "sys_exit_open")
def leave_open(ctx: bpf.Tracepoint) -> None:
    end(i32(ctx.ret))


@bpf.tracepoint("syscalls", "sys_exit_openat")
def leave_openat(ctx: bpf.Tracepoint) -> None:
    end(i32(ctx.ret))


@bpf.tracepoint("syscalls", "sys_exit_openat2")
def leave_openat2(ctx: bpf.Tracepoint) -> None:
    end(i32(ctx.ret))


OPEN = (enter_open, leave_open) if os.uname().machine == "x86_64" else ()  # newer machines have no open(2)
CALLS = (*OPEN, enter_openat, leave_openat, enter_openat2, leave_openat2)


def main() -> None:
    """Print a line for each file."""
    with contextlib.ExitStack() as attached:
        for program in CALLS:
            attached.enter_context(program.attach())
        limit = seconds(__doc__ or "")
        print(f"{'PID':7} {'COMM':16} {'FD':>4} {'ERR':>3} PATH", flush=True)
        for event in until(limit, opened):
            fd, error = (event.result, 0) if event.result >= 0 else (-1, -event.result)
            path = event.path.decode(errors="replace")
            print(f"{event.pid:<7} {event.comm.decode():16} {fd:4} {error:3} {path}", flush=True)


if __name__ == "__main__":
    main()
