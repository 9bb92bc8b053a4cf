"""iter: all tasks of the machine, as the kernel itself goes through them; no process needs to be looked at in /proc."""

from __future__ import annotations

import pyebpf as bpf
from pyebpf.kernel import bpf_iter_meta, task_struct

bpf.license("GPL")


@bpf.iter("task")
def task_list(meta: bpf_iter_meta, task: task_struct | None) -> None:
    """A line for each task."""
    if task is None:
        return
    if meta.seq_num == 0:
        bpf.seq_printf(f"{'PID':>7} {'TGID':>7} {'PPID':>7} COMM\n")
    bpf.seq_printf(f"{task.pid:7} {task.tgid:7} {task.real_parent.tgid:7} {task.comm}\n")


def main() -> None:
    """Print what the program writes."""
    with task_list.attach() as link, link.open_text() as lines:
        for line in lines:
            print(line, end="")


if __name__ == "__main__":
    main()
