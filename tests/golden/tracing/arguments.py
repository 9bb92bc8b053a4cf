"""Where arguments come from: registers, those of the caller of a system call, slots, fields of an event."""

import pyebpf as bpf
from pyebpf import i64, u8, u32, u64
from pyebpf.kernel import task_struct

bpf.license("GPL")
seen = bpf.ArrayMap[u32, u64](max_entries=8)


@bpf.kprobe("vfs_read")
def registers(file: u64, buf: u64, count: u8, ctx: bpf.PtRegs) -> None:
    seen[0] = file
    seen[1] = count
    seen[2] = ctx.ip


@bpf.kretprobe("vfs_read")
def result(retval: int) -> None:
    seen[0] = u64(i64(retval))


@bpf.ksyscall("write")
def syscall(fd: u32, buf: bpf.User[bytes], count: u64) -> int:
    seen[0] = fd
    seen[1] = count
    return 0


@bpf.raw_tracepoint("sched_switch")
def slots(preempt: bool, prev: task_struct) -> None:
    seen[0] = prev.pid


@bpf.fexit("vfs_read")
def both(file: u64, buf: u64, count: u64, retval: int) -> None:
    if retval < 0:
        seen[0] = count


@bpf.tracepoint("sched", "sched_switch")
def event(ctx: bpf.Tracepoint) -> None:
    if ctx.prev_pid < 0 or ctx.prev_comm == b"swapper":
        seen[0] = ctx.next_pid


@bpf.tracepoint("sched", "sched_process_exec")
def text(ctx: bpf.Tracepoint) -> None:
    print(f"{ctx.pid} {ctx.filename}")


@bpf.kretprobe("vfs_read")
def wide(retval: i64) -> None:
    seen[0] = u64(retval)
