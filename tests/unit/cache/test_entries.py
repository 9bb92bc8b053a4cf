"""Entries on disk: whole or not at all, ours or not at all, and never too many."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from pathlib import Path

import pytest

from pyebpf import cache
from pyebpf.declare import ProgramDecl
from pyebpf.driver import compile_programs
from pyebpf.fingerprint import Fingerprint
from pyebpf.ready import Ready
from pyebpf.runtime.own_folder import evict
from pyebpf.target import Target
from tests.unit.cache.conftest import Import

TARGET = Target(kernel=(6, 1))
PROGRAM = """from __future__ import annotations
import pyebpf as bpf
from pyebpf import u32, u64
packets = bpf.HashMap[u32, u64](max_entries=64)

@bpf.socket_filter
def program(skb: bpf.SkBuff) -> int:
    packets[u32(len(skb))] += 1
    return 0
"""
WRITER = """
import sys
sys.path.insert(0, sys.argv[1])
import program
from pyebpf import cache
from pyebpf.driver import compile_programs
from pyebpf.target import Target
decl, target = program.program.__bpf__, Target(kernel=(6, 1))
key = cache.key_of(decl, target)
assert key is not None
compiled = compile_programs([decl], target)
for _ in range(200):
    cache.store(key, compiled)
    found = cache.find(key)
    assert found is not None and repr(found.object) == repr(compiled.object)
"""


@pytest.fixture
def stored(user_module: Import, folder: Path) -> tuple[Fingerprint, Path]:
    """A key whose object is stored, and its file."""
    key = cache.key_of(user_module(PROGRAM).program.__bpf__, TARGET)
    assert key is not None
    store(key)
    (file,) = folder.iterdir()
    return key, file


def store(key: Fingerprint) -> None:
    """Compile the program of ``user_module`` and store it."""
    decl: ProgramDecl = sys.modules["program"].program.__bpf__
    cache.store(key, compile_programs([decl], TARGET))


def find(key: Fingerprint) -> Ready | None:
    return cache.find(key)


def test_only_the_user_may_look(stored: tuple[Fingerprint, Path], folder: Path) -> None:
    assert folder.stat().st_mode & 0o777 == 0o700
    assert stored[1].stat().st_mode & 0o777 == 0o600
    assert find(stored[0]) is not None


@pytest.mark.parametrize("mode", [0o770, 0o707, 0o777, 0o701])
def test_a_folder_open_to_others_is_not_used(
    mode: int, stored: tuple[Fingerprint, Path], folder: Path
) -> None:
    folder.chmod(mode)
    assert find(stored[0]) is None
    assert cache.usage().entries == 0 and cache.clear() == 0


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to give files away")
def test_folders_and_entries_of_others_are_not_used(stored: tuple[Fingerprint, Path], folder: Path) -> None:
    key, file = stored
    os.chown(file, 1337, 1337)
    assert find(key) is None
    os.chown(file, 0, 0)
    assert find(key) is not None
    os.chown(folder, 1337, 1337)
    assert find(key) is None


def test_links_are_not_followed(stored: tuple[Fingerprint, Path], tmp_path: Path) -> None:
    key, file = stored
    file.rename(tmp_path / "elsewhere")
    file.symlink_to(tmp_path / "elsewhere")
    assert find(key) is None


def test_damaged_entries_count_as_none_and_are_written_anew(stored: tuple[Fingerprint, Path]) -> None:
    key, file = stored
    whole = file.read_bytes()
    chance = random.Random(1)
    for _ in range(2000):
        damaged = bytearray(whole)
        match chance.randrange(3):
            case 0:
                del damaged[chance.randrange(len(damaged)) :]
            case 1:
                damaged[chance.randrange(len(damaged))] ^= 1 << chance.randrange(8)
            case _:
                damaged[chance.randrange(len(damaged)) :] = chance.randbytes(chance.randrange(1, 50))
        file.write_bytes(damaged)
        assert bytes(damaged) == whole or find(key) is None
    store(key)
    assert file.read_bytes() == whole and find(key) is not None


def test_many_writers_at_once(tmp_path: Path, folder: Path) -> None:
    (tmp_path / "program.py").write_text(PROGRAM)
    command = [sys.executable, "-c", WRITER, str(tmp_path)]
    running = [subprocess.Popen(command, stderr=subprocess.PIPE, text=True) for _ in range(4)]
    for process in running:
        _, errors = process.communicate(timeout=120)
        assert process.returncode == 0, errors
    assert len(list(folder.iterdir())) == 1


def test_the_oldest_go_first(
    stored: tuple[Fingerprint, Path], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cache, "ENTRIES", 5)
    for number in range(20):
        path = folder / f"{number:016x}.object"
        path.write_bytes(b"old")
        os.utime(path, (1000 + number, 1000 + number))
    key, file = stored
    evict(str(folder), ".object", cache.ENTRIES)
    left = sorted(path.name for path in folder.iterdir())
    assert left == sorted([*(f"{n:016x}.object" for n in range(16, 20)), file.name])
    assert cache.usage().entries == 5
    assert cache.clear() == 5 and not list(folder.iterdir())
    assert find(key) is None


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({"PYEBPF_CACHE": "0", "PYEBPF_CACHE_DIR": "/a"}, None),
        ({"PYEBPF_CACHE_DIR": ""}, None),
        ({"PYEBPF_CACHE_DIR": "/a"}, "/a"),
        ({"XDG_CACHE_HOME": "/x"}, "/x/pyebpf"),
        ({"XDG_CACHE_HOME": "relative", "HOME": "/h"}, "/h/.cache/pyebpf"),
        ({"HOME": "/h"}, "/h/.cache/pyebpf"),
    ],
)
def test_where(environment: dict[str, str], expected: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("PYEBPF_CACHE", "PYEBPF_CACHE_DIR", "XDG_CACHE_HOME", "HOME"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert cache.folder() == expected


def test_switched_off(
    stored: tuple[Fingerprint, Path], user_module: Import, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYEBPF_CACHE", "0")
    decl: ProgramDecl = user_module(PROGRAM).program.__bpf__
    assert cache.key_of(decl, TARGET) is None and find(stored[0]) is None


@pytest.mark.parametrize("place", ["/proc/1/cache", "/dev/null/cache"])
def test_where_nothing_can_be_written_there_is_no_cache(
    place: str, user_module: Import, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYEBPF_CACHE_DIR", place)
    decl: ProgramDecl = user_module(PROGRAM).program.__bpf__
    key = cache.key_of(decl, TARGET)
    assert key is not None
    cache.store(key, compile_programs([decl], TARGET))
    assert find(key) is None
