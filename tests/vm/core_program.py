"""The program of ``guest/test_core.py``: accesses of all kinds to the kernel's structs."""

from __future__ import annotations

import pyebpf as bpf
from pyebpf import i64, u32
from pyebpf.kernel import task_struct

bpf.license("GPL")

GETPPID = 110
seen = bpf.ArrayMap[u32, i64](max_entries=16)


@bpf.kernel_struct
class task_struct___before_5_14:  # the kernel's name, with a flavor
    """Tasks as they were before Linux 5.14."""

    state: i64


@bpf.raw_tracepoint("sys_enter")
def look(regs: bpf.u64, number: int) -> None:
    """Write down what the kernel knows of the task that asks for its parent."""
    if number != GETPPID:
        return
    task = bpf.cast(task_struct, bpf.get_current_task())
    old = bpf.cast(task_struct___before_5_14, bpf.get_current_task())
    seen[0] = task.tgid
    seen[1] = task.real_parent.tgid
    seen[2] = task.comm[0]
    seen[3] = task.sched_reset_on_fork
    seen[4] = -1
    if bpf.field_exists(task_struct___before_5_14, "state"):
        seen[4] = old.state
    else:
        seen[5] = task.__state
    seen[6] = bpf.field_exists(task_struct, "mm")
    seen[7] = bpf.field_size(task_struct, "pid")
    seen[8] = task.exit_signal
    seen[9] = bpf.container_of(task.tasks.next.prev, task_struct, "tasks").tgid
