"""The functions at which a helper may be called, for helpers that are not allowed everywhere.

Source: kernel/trace/bpf_trace.c of Linux 6.18 (``btf_allowlist_d_path``).
"""

from __future__ import annotations

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
"""By the kernel's test, which ``helper_table`` names (``ATTACH_TARGET``). Iterators and security hooks have rules of their own,
which the kernel decides."""
