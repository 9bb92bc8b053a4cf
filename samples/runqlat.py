"""tp_btf: how long tasks wait for a CPU after they became ready to run, as a histogram."""

from __future__ import annotations

from tool import seconds, wait

import pyebpf as bpf
from pyebpf import u32, u64
from pyebpf.kernel import task_struct

bpf.license("GPL")

TASK_RUNNING = 0
ready = bpf.HashMap[u32, u64](max_entries=10_240)  # since when, by thread
waited = bpf.HashMap[u32, u64](max_entries=64, default=0)  # microseconds, as powers of two


def begin(task: task_struct) -> None:
    """A task waits from now on."""
    if task.pid != 0:
        ready.update(u32(task.pid), bpf.ktime_get_ns())


@bpf.tp_btf("sched_wakeup")
def wakeup(task: task_struct) -> None:
    """A task has something to do again."""
    begin(task)


@bpf.tp_btf("sched_wakeup_new")
def first(task: task_struct) -> None:
    """A new task."""
    begin(task)


@bpf.tp_btf("sched_switch")
def switched(preempt: bool, prev: task_struct, next: task_struct) -> None:
    """One task stops and another one runs."""
    if prev.__state == TASK_RUNNING:
        begin(prev)
    since = ready.get(u32(next.pid))
    if since is not None:
        waited[bpf.log2l((bpf.ktime_get_ns() - since) // 1000)] += 1
        ready.delete(u32(next.pid))


def main() -> None:
    """Measure for a while, then print."""
    with wakeup.attach(), first.attach(), switched.attach():
        wait(seconds(__doc__ or ""))
    bpf.print_hist(waited, label="usecs")


if __name__ == "__main__":
    main()
