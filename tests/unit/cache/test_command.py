"""``pyebpf cache``."""

from __future__ import annotations

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
