"""Objects of the kernel for helpers, text for iterators, results that are seen to be allowed."""

import pyebpf as bpf
from pyebpf import u32, u64
from pyebpf.kernel import bpf_iter_meta, file, task_struct

bpf.license("GPL")
seen = bpf.ArrayMap[u32, u64](max_entries=8)


@bpf.iter("task")
def tasks(meta: bpf_iter_meta, task: task_struct) -> None:
    if task is not None:
        bpf.seq_printf(f"{task.pid:5} {task.comm}\n")


@bpf.fexit("security_file_open")
def path(opened: file, retval: int) -> None:
    text = bpf.chars(64)
    if bpf.d_path(opened.f_path, text, 64) > 0:
        print(f"{text}")


@bpf.lsm("file_open")
def deny(opened: file, retval: int) -> int:
    if opened.f_flags & 1:
        return -1
    return 0
