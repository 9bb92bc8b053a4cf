"""fmod_ret: files with a certain name cannot be opened, whoever asks, as long as this runs."""

from __future__ import annotations

from tool import seconds, wait

import pyebpf as bpf
from pyebpf import i32, u64
from pyebpf.kernel import file

bpf.license("GPL")

NAME = b"forbidden.txt"
refused = bpf.Global[u64](0)


@bpf.fmod_ret("security_file_open")
def deny_open(opened: file, retval: i32) -> int:
    """Refuse the file if it is called so, and leave what others have decided."""
    name = bpf.str_from_kernel(opened.f_path.dentry.d_name.name, 32)
    if retval == 0 and name == NAME:
        refused.value += 1
        return -1  # EPERM
    return retval


def main() -> None:
    """Refuse for a while."""
    with deny_open.attach():
        wait(seconds(__doc__ or ""))
        print(f"{refused.value} times refused")


if __name__ == "__main__":
    main()
