"""A bare ``BPF_PROG_LOAD``, without any of our own loader: the tables are compared with the kernel alone."""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import struct
from collections.abc import Callable

import pytest

from pyebpf.uapi.constants import BpfCmd, ProgType

SYSCALL = {"x86_64": 321, "aarch64": 280, "riscv64": 280}
LoadProgram = Callable[..., str | None]


def insn(code: int, dst: int = 0, src: int = 0, off: int = 0, imm: int = 0) -> bytes:
    """One instruction."""
    return struct.pack("=BBhi", code, src << 4 | dst, off, imm)


class Attributes(ctypes.Structure):
    """The head of ``union bpf_attr`` for BPF_PROG_LOAD."""

    _fields_ = (
        ("prog_type", ctypes.c_uint32),
        ("insn_cnt", ctypes.c_uint32),
        ("insns", ctypes.c_uint64),
        ("license", ctypes.c_uint64),
        ("log_level", ctypes.c_uint32),
        ("log_size", ctypes.c_uint32),
        ("log_buf", ctypes.c_uint64),
        ("kern_version", ctypes.c_uint32),
        ("prog_flags", ctypes.c_uint32),
        ("prog_name", ctypes.c_char * 16),
        ("prog_ifindex", ctypes.c_uint32),
        ("expected_attach_type", ctypes.c_uint32),
    )


def _load(prog_type: ProgType, code: bytes, attach_type: int = 0, flags: int = 0) -> str | None:
    """None if the kernel accepts the program, else the verifier's log."""
    libc = ctypes.CDLL(None, use_errno=True)
    instructions = ctypes.create_string_buffer(code, len(code))
    licence = ctypes.create_string_buffer(b"GPL")
    log = ctypes.create_string_buffer(1 << 16)
    attributes = Attributes(
        prog_type=prog_type,
        insn_cnt=len(code) // 8,
        insns=ctypes.addressof(instructions),
        license=ctypes.addressof(licence),
        log_level=1,
        log_size=len(log),
        log_buf=ctypes.addressof(log),
        prog_flags=flags,
        expected_attach_type=attach_type,
    )
    number = SYSCALL[platform.machine()]
    fd = libc.syscall(number, int(BpfCmd.PROG_LOAD), ctypes.byref(attributes), ctypes.sizeof(attributes))
    if fd >= 0:
        os.close(fd)
        return None
    error = ctypes.get_errno()
    text = log.value.decode(errors="replace")
    assert text, f"{prog_type.name}: {errno.errorcode[error]} without a log"
    return text


@pytest.fixture(scope="session")
def load_program() -> LoadProgram:
    """Loads instructions as a program: ``load_program(prog_type, code, attach_type=0, flags=0)``."""
    if platform.system() != "Linux" or os.geteuid() != 0:
        pytest.skip("loading programs needs Linux and root")
    trivial = insn(0xB7) + insn(0x95)
    assert _load(ProgType.SOCKET_FILTER, trivial) is None
    return _load
