"""The index of a kernel's types: the same answers as without, and never that of other types or a damaged one."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from pyebpf import btf
from pyebpf.btf.index import dump_index, load_index
from pyebpf.diagnostics import PyebpfError
from pyebpf.runtime import kernel_index, kernel_modules, own_folder
from pyebpf.runtime.errors import ObjectError
from pyebpf.runtime.kernel_index import indexed
from tests.unit.btf.samples import every_kind
from tests.unit.core.making import U32, struct

ROOT = Path(__file__).parents[3]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder for the index, which is not there yet."""
    monkeypatch.delenv("PYEBPF_CACHE", raising=False)
    monkeypatch.setenv("PYEBPF_CACHE_DIR", str(tmp_path / "kept"))
    return tmp_path / "kept"


def a_kernel(*more: btf.Type) -> bytes:
    """Types of every kind, several of one name, and names that are ends of others."""
    same = [
        struct("twice", ("a", U32, 0)),
        struct("twice", ("b", U32, 0)),
        struct("ice"),
        struct("twice___2"),
        struct("twi___ce___3"),
    ]
    return btf.encode([*every_kind(), *same, *more]).data


def answers(spec: btf.Spec) -> list[object]:
    """What one can ask of types."""
    names = sorted({btf.name_of(type_) for _, type_ in spec.types()} - {""})
    found: list[object] = []
    for name in [*names, "no such name", "", "ice", "wice", "twi", "twi___ce"]:
        found += [
            name,
            spec.ids(name),
            spec.ids(name, btf.Kind.STRUCT),
            spec.candidates(name, btf.Kind.STRUCT),
        ]
    for number, type_ in spec.types():
        members: Sequence[btf.Member] = getattr(type_, "members", ())
        found += [
            number,
            repr(type_),
            getattr(type_, "tags", ()),
            [(m.name, m.bit_offset, repr(m.type)) for m in members],
        ]
    found += sorted(spec.names(btf.Kind.STRUCT, btf.Kind.ENUM, prefix="t"))
    return found


def test_with_an_index_types_say_the_same(folder: Path) -> None:
    data = a_kernel()
    plain = answers(btf.Spec(data))
    assert answers(indexed(data)) == plain
    (file,) = folder.iterdir()
    assert file.stat().st_mode & 0o777 == 0o600 and folder.stat().st_mode & 0o777 == 0o700
    assert answers(indexed(data)) == plain


def test_the_second_time_nothing_is_gone_through(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = a_kernel()
    indexed(data)
    monkeypatch.setattr(btf.Spec, "_places", lambda self: pytest.fail("the records were gone through"))
    assert len(indexed(data).ids("twice")) == 2


def test_other_types_are_noticed(folder: Path) -> None:
    indexed(a_kernel())
    (file,) = folder.iterdir()
    other = a_kernel(struct("one_more"))
    assert indexed(other).ids("one_more")
    first, second = sorted(folder.iterdir(), key=lambda path: path != file)
    second.write_bytes(first.read_bytes())  # a foreign index under this name
    assert indexed(other).ids("one_more") and answers(indexed(other)) == answers(btf.Spec(other))


@pytest.mark.parametrize("seed", range(3))
def test_damage_is_noticed(folder: Path, seed: int) -> None:
    data, rng = a_kernel(), random.Random(seed)
    plain = answers(btf.Spec(data))
    indexed(data)
    (file,) = folder.iterdir()
    whole = file.read_bytes()
    for _ in range(40):
        bad = bytearray(whole)
        match rng.randrange(4):
            case 0:
                bad[rng.randrange(len(bad))] ^= 1 << rng.randrange(8)
            case 1:
                del bad[rng.randrange(len(bad)) :]
            case 2:
                bad += rng.randbytes(rng.randrange(1, 40))
            case _:
                bad[:] = rng.randbytes(rng.randrange(200))
        if bytes(bad) == whole:
            continue
        file.write_bytes(bad)
        assert answers(indexed(data)) == plain
        assert file.read_bytes() == whole  # mended


def test_a_folder_that_others_can_write_to_is_not_used(folder: Path) -> None:
    data = a_kernel()
    folder.mkdir(mode=0o700)
    folder.chmod(0o777)
    assert indexed(data).ids("twice") and not list(folder.iterdir())
    folder.chmod(0o700)
    indexed(data)
    (file,) = folder.iterdir()
    target = folder.parent / "elsewhere"
    file.rename(target)
    file.symlink_to(target)
    assert own_folder.read_own(str(file)) is None
    assert indexed(data).ids("twice")
    assert not file.is_symlink()


def test_switched_off_nothing_is_written(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYEBPF_CACHE", "0")
    assert indexed(a_kernel()).ids("twice") and not folder.exists()
    monkeypatch.delenv("PYEBPF_CACHE")
    monkeypatch.setenv("PYEBPF_CACHE_DIR", "/proc/no/folder")
    assert indexed(a_kernel()).ids("twice")


def test_a_few_kernels_are_kept(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernel_index, "KERNELS", 2)
    for number in range(4):
        indexed(a_kernel(struct(f"s{number}")))
        for path in folder.iterdir():
            os.utime(path, (1000 + number, path.stat().st_mtime - 10))
    assert len(list(folder.iterdir())) == 2


WRITER = """
import sys
from tests.unit.core.test_kernel_index import a_kernel, answers
from pyebpf import btf
from pyebpf.runtime.kernel_index import indexed
data = a_kernel()
plain = answers(btf.Spec(data))
for _ in range(20):
    assert answers(indexed(data)) == plain
"""


def test_many_at_once(folder: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    running = [
        subprocess.Popen([sys.executable, "-c", WRITER], stderr=subprocess.PIPE, env=environment)
        for _ in range(3)
    ]
    for process in running:
        _, errors = process.communicate(timeout=120)
        assert process.returncode == 0, errors.decode()
    assert len(list(folder.iterdir())) == 1


def test_an_index_belongs_to_its_bytes() -> None:
    index = btf.Spec(a_kernel()).index()
    data = dump_index(index, 10, 20)
    assert load_index(data, 10, 20) == index
    for size, checksum in ((11, 20), (10, 21)):
        assert load_index(data, size, checksum) is None
    assert load_index(b"", 0, 0) is None


def test_what_is_no_btf_is_told(folder: Path) -> None:
    with pytest.raises(PyebpfError):
        indexed(b"nothing")
    assert not folder.exists()


def test_a_module_with_broken_types_is_told_and_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "broken").write_bytes(b"no BTF")
    (tmp_path / "good").write_bytes(btf.encode([U32]).data)
    monkeypatch.setattr(kernel_modules, "FOLDER", tmp_path)
    monkeypatch.setattr(kernel_modules, "_KNOWN", {})
    monkeypatch.setattr(kernel_modules, "vmlinux", lambda: btf.Spec(a_kernel()))
    with pytest.raises(ObjectError, match="the types of the module 'broken' cannot be read"):
        kernel_modules.module_types("broken")
    assert [name for name, _ in kernel_modules.modules()] == ["good"]
