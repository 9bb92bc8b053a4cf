"""lsm: nobody but this process may use bpf(2), not even root, as long as it runs."""

from __future__ import annotations

import os

from tool import seconds, wait

import pyebpf as bpf
from pyebpf import u32, u64

bpf.license("GPL")

allowed = bpf.Const[u32](0)
refused = bpf.Global[u64](0)


@bpf.lsm("bpf")
def deny_bpf(cmd: int, attr: int, size: u32) -> int:
    """Refuse the call, unless it is the one process' or somebody has refused it already."""
    if u32(bpf.get_current_pid_tgid() >> 32) == allowed.value:
        return 0
    refused.value += 1
    return -1  # EPERM


def main() -> None:
    """Refuse for a while."""
    allowed.value = os.getpid()
    with deny_bpf.attach():
        wait(seconds(__doc__ or ""))
        print(f"{refused.value} calls refused")


if __name__ == "__main__":
    main()
