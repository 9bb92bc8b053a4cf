"""CO-RE against the running kernel: what clang's objects find out, and that libbpf makes the same instructions of them."""

from __future__ import annotations

import ctypes
import os
import shutil
import struct
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

import pyebpf as bpf
from pyebpf import btf
from pyebpf.backend.elf import read_object
from pyebpf.btf.encode import encode
from pyebpf.object import Prepared
from pyebpf.plain import decode as from_plain
from pyebpf.plain import encode as to_plain
from pyebpf.runtime.attrs import ObjPin
from pyebpf.runtime.errors import CoreError, Phase, VerifierError
from pyebpf.runtime.info import xlated_code
from pyebpf.runtime.kernel_btf import running_kernel, vmlinux
from pyebpf.runtime.load import load, load_object
from pyebpf.runtime.prepare import prepare, without_sources
from pyebpf.runtime.syscall import bpf_fd
from pyebpf.uapi.constants import BpfCmd
from tests.kernel.core.loading import FOLDER, an_object, kernel_struct, loaded, member, offset, values

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="loading programs needs root")
BPF_FILESYSTEM = Path("/sys/fs/bpf")


def test_fields_are_where_the_kernel_has_them() -> None:
    with loaded("fields") as found:
        found.programs["fields"].run()
        got = values(found)
    comm, pid = offset("task_struct", "comm"), offset("task_struct", "pid")
    summed, field = member(kernel_struct("sk_buff"), "ip_summed")
    _, kind = member(kernel_struct("sk_buff"), "pkt_type")
    size = btf.size_of(field.type)
    start = summed // 8 // size * size
    address = offset("ipv6hdr", "saddr")
    version, _ = member(kernel_struct("ipv6hdr"), "version")
    assert got[:20] == [
        comm,
        pid,
        offset("task_struct", "tgid"),
        comm + 5,
        16,
        1,
        0b10,
        0,
        start,
        64 - (summed + 2 - start * 8),
        62,
        btf.size_of(kind.type),
        address + 8,
        offset("ipv6hdr", "daddr") + 3,
        64 - (version + 4),
        63,
        2 * 16,
        0,
        offset("task_struct", "real_parent"),
        8,
    ]


def test_types_are_those_of_the_kernel() -> None:
    with loaded("fields") as found:
        found.programs["types"].run()
        got = values(found)
    size = kernel_struct("task_struct").size
    number = vmlinux().ids("task_struct", btf.Kind.STRUCT)[0]
    assert got[20:28] == [size, 0b10, 0, number, 0, 0b10, 0b10, 27]


def test_memory_of_the_kernel_is_read() -> None:
    with loaded("fields") as found:
        found.programs["reads"].run()
        got = values(found)
    assert got[28:31] == [os.getpid(), os.getppid(), 0]


def test_a_missing_field_is_told() -> None:
    with pytest.raises(VerifierError) as caught:
        loaded("missing")
    found = caught.value.diagnostic
    assert found.message == f"`struct inode` has no field `i_no_such_field` on {running_kernel()}"
    assert found.code.name == "E1114"
    assert found.span.file == str(FOLDER / "missing.c")
    text = str(caught.value)
    assert "missing.c" in text and "unknown#195896080" not in text.split("= note:")[0]


@pytest.fixture
def pins() -> Iterator[Path]:
    """A folder to pin in, removed afterwards."""
    if shutil.which("bpftool") is None or not os.path.ismount(BPF_FILESYSTEM):
        pytest.skip("needs bpftool and a mounted bpf file system")
    folder = BPF_FILESYSTEM / f"pyebpf-core-{os.getpid()}"
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


def instructions(code: bytes) -> list[tuple[int, int, int, int]]:
    """Instructions as the kernel has them, without the ids of maps."""
    found = []
    for opcode, registers, off, imm in struct.iter_unpack("<BBhi", code):
        of_map = opcode == 0x18 and registers >> 4 in (1, 2)
        found.append((opcode, registers, off, 0 if of_map else imm))
    return found


@pytest.mark.parametrize("name", ["fields", "externs", "places"])
def test_libbpf_makes_the_same_instructions(name: str, tmp_path: Path, pins: Path) -> None:
    path = tmp_path / f"{name}.o"
    path.write_bytes(an_object(name))
    command = ["bpftool", "prog", "loadall", str(path), str(pins)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    with loaded(name) as found:
        for program in found.programs.values():
            pinned = ctypes.create_string_buffer(str(pins / program.name).encode())
            attr = ObjPin(pathname=ctypes.addressof(pinned))
            with bpf_fd(BpfCmd.OBJ_GET, attr, Phase.OPEN_PINNED) as theirs:
                assert instructions(xlated_code(program.handle)) == instructions(xlated_code(theirs))


def test_a_prepared_object_goes_through_the_cache() -> None:
    prepared = without_sources(prepare(read_object(an_object("fields"))))
    again = from_plain(to_plain(prepared, []), [], Prepared)
    assert again.core_types == prepared.core_types and not again.object.functions
    with load(again) as found:
        found.programs["reads"].run()
        assert values(found)[28] == os.getpid()


def test_another_kernels_types_can_be_given() -> None:
    u32 = btf.Int("unsigned int", 4)
    inode = btf.Struct(
        "inode", 64, (btf.Member("i_no_such_field", btf.Int("long", 8, btf.IntEncoding.SIGNED), 128),)
    )
    types = btf.Spec(encode([inode, u32]).data)
    with load_object(an_object("missing"), kernel_types=types) as found:
        code = instructions(xlated_code(found.programs["missing"].handle))
    assert any(imm == 16 for opcode, _, _, imm in code if opcode & 7 in (4, 7))
    with pytest.raises(VerifierError) as caught:
        load_object(an_object("fields"), kernel_types=types)
    assert caught.value.diagnostic.message.startswith("there is no `struct task_struct` on ")


def test_a_record_that_does_not_fit_names_its_instruction() -> None:
    spec = read_object(an_object("missing"))
    program = spec.programs["missing"]
    code = bytearray(program.code)
    slot = program.core[0].slot
    code[slot * 8 + 4] ^= 0x40
    program.code = bytes(code)
    types = btf.Struct("inode", 64, (btf.Member("i_no_such_field", btf.Int("long", 8), 128),))
    with pytest.raises(
        CoreError, match=rf"instruction {slot} \(struct inode___none \+ 0:0\): .* holds 64 instead of 0"
    ):
        load(spec, kernel_types=btf.Spec(encode([types]).data))


def test_users_load_objects_of_clang(tmp_path: Path) -> None:
    path = tmp_path / "fields.o"
    path.write_bytes(an_object("fields"))
    with bpf.load(path) as found:
        found.programs["reads"].run()
        assert values(found)[28] == os.getpid()
