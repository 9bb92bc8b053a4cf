"""What may not be attached to, or called there, whatever the kernel has.

Source: kernel/trace/bpf_trace.c of Linux 6.18 (``btf_allowlist_d_path``); net/socket.c, ipc/syscall.c and
kernel/fork.c.
"""

from __future__ import annotations

from pyebpf.hints import TYPE_CHECKING
from pyebpf.target import Arch

if TYPE_CHECKING:
    from typing import Final


FUNCTIONS: Final[dict[str, frozenset[str]]] = {
    "d_path_allowed": frozenset(
        {
            "dentry_open",
            "filp_close",
            "security_file_open",
            "security_file_permission",
            "security_inode_getattr",
            "security_path_truncate",
            "vfs_fallocate",
            "vfs_getattr",
            "vfs_truncate",
        }
    )
}
"""The functions at which a helper may be called that is not allowed everywhere, by the kernel's test, which ``helper_table``
names (``ATTACH_TARGET``). Iterators and security hooks have rules of their own, which the kernel decides."""

MULTIPLEXED: Final = {"socketcall": "all calls of sockets", "ipc": "all calls of System V objects"}
"""System calls that only 32-bit processes have, and what they use them for."""

ORDERS: Final = {
    "clone": {
        Arch.X86_64: ("clone_flags", "newsp", "parent_tidptr", "child_tidptr", "tls"),
        Arch.ARM64: ("clone_flags", "newsp", "parent_tidptr", "tls", "child_tidptr"),
    }
}
"""The arguments of system calls that do not have them in the same order everywhere (``CONFIG_CLONE_BACKWARDS``)."""
