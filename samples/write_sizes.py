"""ksyscall: how many bytes programs write at a time, as a histogram of each command (`write(2)`)."""

from __future__ import annotations

from tool import seconds, wait

import pyebpf as bpf
from pyebpf import u32, u64

bpf.license("GPL")


@bpf.struct
class Key:
    """A command, who runs it, and a power of two."""

    slot: u32
    uid: u32
    pid_tgid: u64
    comm: bytes = bpf.chars(16)


sizes = bpf.HashMap[Key, u64](max_entries=10_240, default=0)


@bpf.ksyscall("write")
def write_sizes(fd: u32, buf: bpf.User[bytes], count: u64) -> int:
    """Count the write by the logarithm of its size."""
    key = Key(
        slot=bpf.log2l(count),
        uid=u32(bpf.get_current_uid_gid()),
        pid_tgid=bpf.get_current_pid_tgid(),
        comm=bpf.get_current_comm(),
    )
    sizes[key] += 1
    return 0


def main() -> None:
    """Count for a while, then print."""
    with write_sizes.attach():
        wait(seconds(__doc__ or ""))
    commands: dict[str, dict[int, int]] = {}
    for key, number in sizes.items():
        slots = commands.setdefault(f"{key.comm.decode()} pid {key.pid_tgid >> 32} uid {key.uid}", {})
        slots[key.slot] = slots.get(key.slot, 0) + number
    for name in sorted(commands):
        print(f"\n{name}")
        bpf.print_hist(commands[name], label="bytes")


if __name__ == "__main__":
    main()
