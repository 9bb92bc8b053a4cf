"""Bare bpf(2) calls, without any of our own loader: the tables are compared with the kernel alone."""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import struct
from collections.abc import Callable, Iterator

import pytest

from pyebpf.uapi.constants import BpfCmd, MapType, ProgType

SYSCALL = {"x86_64": 321, "aarch64": 280, "riscv64": 280}
LoadProgram = Callable[..., str | None]
CreateMap = Callable[..., int]


def insn(code: int, dst: int = 0, src: int = 0, off: int = 0, imm: int = 0) -> bytes:
    """One instruction."""
    return struct.pack("=BBhi", code, src << 4 | dst, off, imm)


class LoadAttributes(ctypes.Structure):
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


class MapAttributes(ctypes.Structure):
    """The head of ``union bpf_attr`` for BPF_MAP_CREATE; BPF_MAP_FREEZE takes the first member."""

    _fields_ = (
        ("map_type_or_fd", ctypes.c_uint32),
        ("key_size", ctypes.c_uint32),
        ("value_size", ctypes.c_uint32),
        ("max_entries", ctypes.c_uint32),
        ("map_flags", ctypes.c_uint32),
    )


class ElementAttributes(ctypes.Structure):
    """``union bpf_attr`` for BPF_MAP_UPDATE_ELEM."""

    _fields_ = (
        ("map_fd", ctypes.c_uint64),
        ("key", ctypes.c_uint64),
        ("value", ctypes.c_uint64),
        ("flags", ctypes.c_uint64),
    )


def bpf(command: BpfCmd, attributes: ctypes.Structure) -> int:
    """bpf(2): a file descriptor or 0, or a negative errno."""
    libc = ctypes.CDLL(None, use_errno=True)
    number = SYSCALL[platform.machine()]
    result: int = libc.syscall(number, int(command), ctypes.byref(attributes), ctypes.sizeof(attributes))
    return result if result >= 0 else -ctypes.get_errno()


def load(
    prog_type: ProgType, code: bytes, attach_type: int = 0, flags: int = 0, licence: bytes = b"GPL"
) -> str | None:
    """None if the kernel accepts the program, else the verifier's log."""
    instructions = ctypes.create_string_buffer(code, len(code))
    text = ctypes.create_string_buffer(licence)
    log = ctypes.create_string_buffer(1 << 16)
    attributes = LoadAttributes(
        prog_type=prog_type,
        insn_cnt=len(code) // 8,
        insns=ctypes.addressof(instructions),
        license=ctypes.addressof(text),
        log_level=1,
        log_size=len(log),
        log_buf=ctypes.addressof(log),
        prog_flags=flags,
        expected_attach_type=attach_type,
    )
    fd = bpf(BpfCmd.PROG_LOAD, attributes)
    if fd >= 0:
        os.close(fd)
        return None
    said = log.value.decode(errors="replace")
    assert said, f"{prog_type.name}: {errno.errorcode[-fd]} without a log"
    return said


@pytest.fixture(scope="session")
def load_program() -> LoadProgram:
    """Loads instructions: ``load_program(prog_type, code, attach_type=0, flags=0, licence=b"GPL")``."""
    if platform.system() != "Linux" or os.geteuid() != 0:
        pytest.skip("loading programs needs Linux and root")
    trivial = insn(0xB7) + insn(0x95)
    assert load(ProgType.SOCKET_FILTER, trivial) is None
    return load


@pytest.fixture(scope="session")
def create_map() -> Iterator[CreateMap]:
    """Makes a map: ``create_map(map_type, key_size, value_size, max_entries, flags=0, contents=None)``. With
    ``contents`` (bytes) its first element has them and the map is frozen."""
    created: list[int] = []

    def create(
        map_type: MapType, key: int, value: int, entries: int, flags: int = 0, contents: bytes | None = None
    ) -> int:
        fd = bpf(BpfCmd.MAP_CREATE, MapAttributes(map_type, key, value, entries, flags))
        assert fd >= 0, (map_type, errno.errorcode[-fd])
        created.append(fd)
        if contents is not None:
            zero, data = ctypes.c_uint32(0), ctypes.create_string_buffer(contents, value)
            element = ElementAttributes(fd, ctypes.addressof(zero), ctypes.addressof(data), 0)
            assert bpf(BpfCmd.MAP_UPDATE_ELEM, element) == 0
            assert bpf(BpfCmd.MAP_FREEZE, MapAttributes(fd)) == 0
        return fd

    yield create
    for fd in created:
        os.close(fd)
