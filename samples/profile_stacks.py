"""perf_event and stack traces: where the kernel and programs spend their time, sampled on every CPU."""

from __future__ import annotations

import contextlib

from tool import seconds, wait

import pyebpf as bpf
from pyebpf import i32, u32, u64

bpf.license("GPL")


@bpf.struct
class Where:
    """A place: a command, and what it was doing in the kernel and in its own code (negative: nothing known)."""

    pid: u32
    kernel: i32
    user: i32
    comm: bytes = bpf.chars(16)


stacks = bpf.StackTrace(max_entries=10_240)
samples = bpf.HashMap[Where, u64](max_entries=10_240, default=0)


@bpf.perf_event
def sample(ctx: bpf.PerfEvent) -> None:
    """Count where the CPU is."""
    samples[
        Where(
            pid=u32(bpf.get_current_pid_tgid() >> 32),
            kernel=bpf.get_stackid(ctx, stacks, 0),
            user=bpf.get_stackid(ctx, stacks, bpf.BPF_F_USER_STACK),
            comm=bpf.get_current_comm(),
        )
    ] += 1


def main() -> None:
    """Sample for a while, then print the ten busiest places."""
    with sample.attach(frequency=49):
        wait(seconds(__doc__ or ""))
    for where, count in sorted(samples.items(), key=lambda item: -item[1])[:10]:
        print(f"\n{count} samples: {where.comm.decode()} ({where.pid})")
        if where.kernel >= 0:
            for symbol in bpf.symbolize_kernel(stacks[where.kernel]):
                print(f"    {symbol}")
        if where.user >= 0:
            with contextlib.suppress(bpf.BpfError):  # the process has ended
                for symbol in bpf.symbolize_user(where.pid, stacks[where.user]):
                    print(f"    {symbol}")


if __name__ == "__main__":
    main()
