"""kprobe and kretprobe: which files are removed, and whether that worked."""

from __future__ import annotations

from tool import seconds, until

import pyebpf as bpf
from pyebpf import i64, u32, u64
from pyebpf.kernel import filename

bpf.license("GPL")


@bpf.struct
class Removed:
    """A removal: ``result`` is 0 or a negative error number."""

    pid: u32
    result: i64
    path: bytes = bpf.chars(128)


@bpf.struct
class Path:
    """What a file is called."""

    text: bytes = bpf.chars(128)


removed = bpf.RingBuf[Removed](1 << 16)
going_on = bpf.HashMap[u64, Path](max_entries=1024)


@bpf.kprobe("do_unlinkat")
def enter(dfd: int, name: filename) -> None:
    """Remember the path."""
    going_on.update(bpf.get_current_pid_tgid(), Path(text=bpf.str_from_kernel(name.name, 128)))


@bpf.kretprobe("do_unlinkat")
def leave(retval: i64) -> None:
    """Report what came of it."""
    thread = bpf.get_current_pid_tgid()
    path = going_on.get(thread)
    if path is not None:
        removed.output(Removed(pid=u32(thread >> 32), result=retval, path=path.text))
        going_on.delete(thread)


def main() -> None:
    """Print a line for each file."""
    with enter.attach(), leave.attach():
        for event in until(seconds(__doc__ or ""), removed):
            print(f"{event.pid} {event.result} {event.path.decode(errors='replace')}", flush=True)


if __name__ == "__main__":
    main()
