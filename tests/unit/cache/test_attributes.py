"""Constants that programs read through attributes: whatever decides what ``getattr`` gives must change the key.

Each text of ``helper.py`` holds ``NUMBER`` where the same text with another number must give another program.
"""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from pyebpf import cache
from pyebpf.driver import compile_programs
from tests.unit.cache.conftest import Import
from tests.unit.cache.test_staleness import TARGET, program_of

PROGRAM = """from __future__ import annotations
import pyebpf as bpf
import helper
from helper import *

@bpf.socket_filter
def program(skb: bpf.SkBuff) -> int:
    return EXPRESSION
"""

CASES = {
    "builtins": ("import builtins\nbuiltins.LIMIT = NUMBER", "LIMIT"),
    "made class": (
        "import dataclasses\nMade = dataclasses.make_dataclass('Made', [('limit', int, NUMBER)])",
        "Made.limit",
    ),
    "metaclass": (
        "class Meta(type):\n    limit = NUMBER\nclass Made(metaclass=Meta):\n    pass",
        "Made.limit",
    ),
    "metaclass that makes names": (
        "class Meta(type):\n    def __getattr__(self, name):\n        return NUMBER\n"
        "class Made(metaclass=Meta):\n    pass",
        "Made.limit",
    ),
    "class of Python": (
        "import argparse\nargparse.Action.limit = NUMBER\nMade = argparse.Action",
        "Made.limit",
    ),
    "base of Python": (
        "import argparse\nargparse.Action.limit = NUMBER\nclass Made(argparse.Action):\n    pass",
        "Made.limit",
    ),
    "enum with fields": (
        "import enum\nclass Made(enum.Enum):\n    ONE = (1,)\n    def __init__(self, x):\n        self.limit = NUMBER\n"
        "one = Made.ONE",
        "one.limit",
    ),
    "enum with a property": (
        "import enum\nclass Made(enum.IntEnum):\n    ONE = 1\n    @property\n    def limit(self):\n"
        "        return NUMBER\none = Made.ONE",
        "one.limit",
    ),
    "enum with an index": (
        "import enum\nclass Made(enum.IntEnum):\n    ONE = 1\n    def __index__(self):\n        return NUMBER\n"
        "    __int__ = __index__\none = Made.ONE",
        "one",
    ),
    "class of an enum's member": (
        "import enum\nclass Made(enum.IntEnum):\n    ONE = 1\nMade.limit = NUMBER\none = Made.ONE",
        "one.limit",
    ),
    "function": ("def made(x):\n    return x\nmade.limit = NUMBER", "made.limit"),
    "decorated function": (
        "import pyebpf\n@pyebpf.noinline\ndef made(x):\n    return x\nmade.limit = NUMBER",
        "made.limit",
    ),
    "program": (
        "import pyebpf\n@pyebpf.socket_filter\ndef made(skb):\n    return 0\nmade.limit = NUMBER",
        "made.limit",
    ),
    "module of another class": (
        "import sys, types\nclass Made(types.ModuleType):\n    limit = NUMBER\nsys.modules[__name__].__class__ = Made",
        "helper.limit",
    ),
    "name of ours": ("import pyebpf\npyebpf.limit = NUMBER", "bpf.limit"),
    "constant of ours": ("import pyebpf\npyebpf.ETH_P_IP = NUMBER", "bpf.ETH_P_IP"),
}


@pytest.mark.parametrize("case", CASES)
def test_what_attributes_give(
    case: str, user_module: Import, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import argparse
    import builtins

    import pyebpf

    for owner, name in ((builtins, "LIMIT"), (argparse.Action, "limit"), (pyebpf, "limit")):
        monkeypatch.setattr(owner, name, 0, raising=False)
    monkeypatch.setattr(pyebpf, "ETH_P_IP", pyebpf.ETH_P_IP)
    text, expression = CASES[case]
    # The helper keeps its size and place: only what its code does differs.
    for number in (71, 72):
        sys.modules.pop("helper", None)
        monkeypatch.setattr(sys, "dont_write_bytecode", True)
        (tmp_path / "helper.py").write_text(text.replace("NUMBER", str(number)))
        decl = program_of(user_module(PROGRAM.replace("EXPRESSION", expression)))
        key = cache.key_of(decl, TARGET)
        compiled = compile_programs([decl], TARGET)
        code = compiled.object.programs["program"].code
        assert number.to_bytes(4, "little") in code
        if key is not None:
            found = cache.find(key)
            assert found is None or found.object.programs["program"].code == code
            cache.store(key, compiled)


@pytest.mark.parametrize("case", ["builtins", "made class", "metaclass", "function", "name of ours"])
def test_they_are_cached_all_the_same(
    case: str, user_module: Import, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import builtins

    import pyebpf

    for owner, name in ((builtins, "LIMIT"), (pyebpf, "limit")):
        monkeypatch.setattr(owner, name, 0, raising=False)
    text, expression = CASES[case]
    (tmp_path / "helper.py").write_text(text.replace("NUMBER", "71"))
    decl = program_of(user_module(PROGRAM.replace("EXPRESSION", expression)))
    key = cache.key_of(decl, TARGET)
    assert key is not None
    cache.store(key, compile_programs([decl], TARGET))
    assert cache.find(key) is not None
