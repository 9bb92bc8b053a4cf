"""``pyebpf cache``."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from pyebpf import cache
from pyebpf.cli import main
from pyebpf.driver import compile_programs
from pyebpf.target import Target
from tests.unit.cache.conftest import Import


def test_info_and_clear(
    user_module: Import, folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    decl = user_module(
        "import pyebpf as bpf\n@bpf.socket_filter\ndef program(skb):\n    return 0\n"
    ).program.__bpf__
    key = cache.key_of(decl, Target())
    assert key is not None
    assert main(["cache"]) == 0
    assert capsys.readouterr().out == f"{folder}: 0 entries, 0 KiB\n"
    cache.store(key, compile_programs([decl], Target()))
    assert main(["cache", "info"]) == 0
    assert capsys.readouterr().out.startswith(f"{folder}: 1 entries, ")
    assert main(["cache", "clear"]) == 0
    assert capsys.readouterr().out == "removed 1 entries\n"
    assert cache.find(key) is None
    monkeypatch.setenv("PYEBPF_CACHE", "0")
    assert main(["cache"]) == 0
    assert capsys.readouterr().out == "the cache is switched off\n"


@pytest.mark.parametrize("action", ["info", "clear"])
def test_a_folder_that_is_refused(action: str, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It says why nothing is kept, what mends it, and leaves what is there alone."""

    def told() -> str:
        assert main(["cache", action]) == 1
        out, err = capsys.readouterr()
        assert out == "" and err.startswith("pyebpf: the cache is not used: ")
        return err.removeprefix("pyebpf: the cache is not used: ")

    folder.mkdir(mode=0o700)
    (folder / "one.object").write_bytes(b"not ours to remove")
    folder.chmod(0o755)
    assert told() == f"{folder} is open to other users (mode 0755); close it with `chmod 700 {folder}`\n"
    assert (folder / "one.object").exists()
    folder.chmod(0o700)
    assert main(["cache", "info"]) == 0
    capsys.readouterr()
    if os.geteuid() == 0:
        os.chown(folder, 12345, -1)
        assert told() == f"{folder} belongs to user 12345; name a folder of your own with PYEBPF_CACHE_DIR\n"
        os.chown(folder, 0, -1)
    (folder / "one.object").unlink()
    folder.rmdir()
    folder.write_text("a file")
    assert told() == f"{folder} is not a folder; remove it, or name another folder with PYEBPF_CACHE_DIR\n"
    folder.unlink()


def test_a_folder_below_a_file(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder.write_text("a file")
    monkeypatch.setenv("PYEBPF_CACHE_DIR", str(folder / "below"))
    assert main(["cache"]) == 1
    assert "cannot be looked at: Not a directory; name another folder" in capsys.readouterr().err
