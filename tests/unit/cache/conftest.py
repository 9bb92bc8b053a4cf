"""A cache of its own for each test, and modules of a user to compile."""

from __future__ import annotations

import importlib.util
import itertools
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import pytest

_number = itertools.count()
Import = Callable[[str], ModuleType]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of the cache, empty."""
    monkeypatch.delenv("PYEBPF_CACHE", raising=False)
    monkeypatch.setenv("PYEBPF_CACHE_DIR", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def user_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Import]:
    """Import a text as the module ``program``: at the same path each time, as in one process after the other."""
    monkeypatch.syspath_prepend(str(tmp_path))
    before = set(sys.modules)

    def made(text: str) -> ModuleType:
        path = tmp_path / "program.py"
        path.write_text(text)
        spec = importlib.util.spec_from_file_location("program", path)
        assert spec is not None and spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules["program"] = module
        exec(compile(text, path, "exec"), module.__dict__)
        return module

    yield made
    for name in set(sys.modules) - before:
        if name in ("program", "helper"):
            del sys.modules[name]
