"""Two raw tracepoints and a map of beginnings: how long system calls take, by their numbers."""

from __future__ import annotations

from tool import seconds, wait

import pyebpf as bpf
from pyebpf import u32, u64

bpf.license("GPL")


@bpf.struct
class Begun:
    """A system call that is going on."""

    number: u64
    at: u64


@bpf.struct
class Spent:
    """All calls of one kind: nanoseconds."""

    calls: u64
    total: u64
    longest: u64


begun = bpf.HashMap[u64, Begun](max_entries=10_240)
spent = bpf.HashMap[u32, Spent](max_entries=1024)


@bpf.tracepoint("raw_syscalls", "sys_enter")
def enter(ctx: bpf.Tracepoint) -> None:
    """Remember when the call began."""
    begun.update(bpf.get_current_pid_tgid(), Begun(number=ctx.id, at=bpf.ktime_get_ns()))


@bpf.tracepoint("raw_syscalls", "sys_exit")
def leave(ctx: bpf.Tracepoint) -> None:
    """Add the time since then."""
    thread = bpf.get_current_pid_tgid()
    call = begun.get(thread)
    if call is None:
        return
    took = bpf.ktime_get_ns() - call.at
    number = u32(call.number)
    begun.delete(thread)
    if number not in spent:
        spent.update(number, Spent(calls=0, total=0, longest=0), bpf.BPF_NOEXIST)
    known = spent.get(number)
    if known is not None:
        known.calls += 1
        known.total += took
        known.longest = max(known.longest, took)


def main() -> None:
    """Measure for a while, then print all kinds of calls, those that took longest together first."""
    with enter.attach(), leave.attach():
        wait(seconds(__doc__ or ""))
    print(f"{'SYSCALL':>7} {'CALLS':>9} {'AVG us':>10} {'MAX us':>12}")
    for number, one in sorted(spent.items(), key=lambda item: -item[1].total):
        print(f"{number:7} {one.calls:9} {one.total / one.calls / 1e3:10.1f} {one.longest / 1e3:12.1f}")


if __name__ == "__main__":
    main()
