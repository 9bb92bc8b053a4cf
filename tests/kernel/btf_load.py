"""``BPF_BTF_LOAD`` for tests: the kernel's own judgement about type information."""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import struct

import pytest

_NUMBER = {"x86_64": 321, "aarch64": 280}
_BTF_LOAD = 18
_LOG_SIZE = 1 << 16


def btf_load(data: bytes) -> str:
    """What the kernel says against ``data``; empty if it takes it. Skips where it may not be asked."""
    number = _NUMBER.get(platform.machine())
    if number is None:
        pytest.skip(f"bpf(2) has no known number on {platform.machine()}")
    libc = ctypes.CDLL(None, use_errno=True)
    buffer, log = ctypes.create_string_buffer(data, len(data)), ctypes.create_string_buffer(_LOG_SIZE)
    fields = ctypes.addressof(buffer), ctypes.addressof(log), len(data), _LOG_SIZE, 1
    attr = ctypes.create_string_buffer(struct.pack("QQIII", *fields), 28)
    fd = libc.syscall(ctypes.c_long(number), _BTF_LOAD, ctypes.c_void_p(ctypes.addressof(attr)), 28)
    if fd >= 0:
        os.close(fd)
        return ""
    code = ctypes.get_errno()
    if code == errno.EPERM:
        pytest.skip("bpf(2) is not permitted")
    return f"{os.strerror(code)}\n{log.value.decode()}"
