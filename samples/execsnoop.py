"""Tracepoints and kernel types: which programs are started, by whom, with which arguments (`execve(2)`)."""

from __future__ import annotations

from tool import seconds, until

import pyebpf as bpf
from pyebpf import i32, u32, u64
from pyebpf.kernel import task_struct

bpf.license("GPL")
ARGUMENTS = 20
LENGTH = 128


@bpf.struct
class Started:
    """A call of execve: ``result`` is 0 or a negative error number; ``count`` of the arguments are there."""

    pid: u32
    ppid: u32
    result: i32
    count: u32
    comm: bytes = bpf.chars(16)
    arguments: list[bytes] = bpf.array(bpf.chars(LENGTH), ARGUMENTS)


started = bpf.RingBuf[Started](1 << 20)
calls = bpf.HashMap[u64, Started](max_entries=1024)
EMPTY = bpf.ArrayMap[u32, Started](max_entries=1)


@bpf.tracepoint("syscalls", "sys_enter_execve")
def enter(ctx: bpf.Tracepoint) -> None:
    """The arguments are gone when the call returns: keep them until then."""
    thread = bpf.get_current_pid_tgid()
    calls.update(thread, EMPTY[0])
    call = calls.get(thread)
    if call is None:
        return
    task = bpf.cast(task_struct, bpf.get_current_task())
    call.pid = u32(thread >> 32)
    call.ppid = task.real_parent.tgid
    for i in range(ARGUMENTS):
        argument = bpf.read_user(u64, ctx.argv + 8 * i)
        if argument == 0:
            break
        call.arguments[i] = bpf.str_from_user(argument, LENGTH)
        call.count = i + 1


@bpf.tracepoint("syscalls", "sys_exit_execve")
def leave(ctx: bpf.Tracepoint) -> None:
    """Report the call under the name that the task has now."""
    thread = bpf.get_current_pid_tgid()
    call = calls.get(thread)
    if call is not None:
        call.result = ctx.ret
        call.comm = bpf.get_current_comm()
        started.output(call)
        calls.delete(thread)


def main() -> None:
    """Print a line for each program."""
    with enter.attach(), leave.attach():
        limit = seconds(__doc__ or "")
        print(f"{'PCOMM':16} {'PID':>7} {'PPID':>7} {'RET':>3} ARGS", flush=True)
        for call in until(limit, started):
            words = " ".join(a.decode(errors="replace") for a in call.arguments[: call.count])
            print(f"{call.comm.decode():16} {call.pid:7} {call.ppid:7} {call.result:3} {words}", flush=True)


if __name__ == "__main__":
    main()
