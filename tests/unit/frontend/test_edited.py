"""A file that is edited after its import: its new text is refused, not compiled with the old objects."""

from __future__ import annotations

import importlib
import itertools
import runpy
import sys
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FunctionType, ModuleType

import pytest

from pyebpf.codes import Code
from pyebpf.diagnostics import CompileError
from pyebpf.driver import compile_programs
from pyebpf.frontend.edited import comparable
from pyebpf.frontend.parse import parse_function

_number = itertools.count()
Write = Callable[[str], ModuleType]

TEXT = '''"""A module."""

from __future__ import annotations

import sys

import pyebpf as bpf
from pyebpf import u8, u32, u64


def identity(function):
    return function


def helped(x: u32) -> u32:
    """Has a docstring."""
    return u32(x + 1)


class Group:
    @staticmethod
    @identity
    def inner(x: u32) -> u32:
        return x ^ u32(3) ^ u32(sys.getsizeof(x))


def outer(captured):
    def within(x: u32) -> bool:
        return x in (1, 2, captured) or x in {"a", "b"}

    return within


within = outer(7)


@bpf.socket_filter(on_error=bpf.KEEP)
def program(skb: bpf.SkBuff) -> int:
    """Has one too."""
    local: u32 = u32(helped(u32(5)))
    return local
'''
FUNCTIONS: dict[str, Callable[[ModuleType], FunctionType]] = {
    "helped": lambda module: module.helped,
    "inner": lambda module: module.Group.inner,
    "within": lambda module: module.within,
    "program": lambda module: module.program.function,
}


@pytest.fixture
def imported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Write]:
    """Import a text as Python does, from a file."""
    monkeypatch.syspath_prepend(str(tmp_path))
    name = f"edited_{next(_number)}"

    def made(text: str) -> ModuleType:
        (tmp_path / f"{name}.py").write_text(text)
        importlib.invalidate_caches()
        return importlib.import_module(name)

    yield made
    sys.modules.pop(name, None)


def rewrite(module: ModuleType, old: str, new: str) -> None:
    """Edit the file of a module."""
    path = Path(str(module.__file__))
    text = path.read_text()
    assert text.count(old) == 1
    path.write_text(text.replace(old, new))


def refused(function: FunctionType) -> str:
    """What is said about an edited function."""
    with pytest.raises(CompileError) as caught:
        parse_function(function)
    (diagnostic,) = caught.value.diagnostics
    assert diagnostic.code is Code.E0102
    assert diagnostic.help == ("import it again",)
    return diagnostic.message


def test_the_text_as_it_was_imported(imported: Write) -> None:
    module = imported(TEXT)
    for function_of in FUNCTIONS.values():
        assert comparable(function_of(module))
        for _ in range(2):
            assert parse_function(function_of(module)).node.name == function_of(module).__name__


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("helped", "x + 1", "x + 2"),
        ("helped", "x + 1", "x - 1"),
        ("helped", "helped(x: u32) ->", "helped(x: u64) ->"),
        ("helped", "def helped(x: u32) -> u32", "def helped(x: u32) -> u64"),
        ("helped", "def helped(x: u32)", "def helped(x: u32, /)"),
        ("inner", "u32(3)", "u32(4)"),
        ("inner", "u32(3)", "u64(3)"),
        ("within", "(1, 2, captured)", "(1, 3, captured)"),
        ("within", "(1, 2, captured)", "(1, True, captured)"),
        ("within", "(1, 2, captured)", "(1, captured, 2)"),
        ("within", "def outer(captured)", "def outer(other)"),
        ("program", "u32(5)", "u32(66)"),
        ("program", "return local", "return local if local else 0"),
        ("program", "Has one too", "Has another"),
    ],
)
def test_an_edit_on_the_same_lines(name: str, old: str, new: str, imported: Write) -> None:
    module = imported(TEXT)
    function = FUNCTIONS[name](module)
    parse_function(function)
    rewrite(module, old, new)
    assert refused(function) == f"`{function.__qualname__}` has changed in its file since it was imported"
    rewrite(module, new, old)
    parse_function(function)
    rewrite(module, old, new)
    sys.modules.pop(module.__name__)
    parse_function(FUNCTIONS[name](imported(Path(str(module.__file__)).read_text())))


def test_an_edit_elsewhere_does_not_matter(imported: Write) -> None:
    """Comments, layout inside of a line, other functions and what is below: the function is the same."""
    module = imported(TEXT)
    rewrite(module, "x + 1)", "x+1 )  # one more")
    rewrite(module, "u32(3)", "u32(4)")
    rewrite(module, "    return local\n", "    return local\n\n\ndef further(): return 1\n")
    for name in ("helped", "within", "program"):
        parse_function(FUNCTIONS[name](module))
    assert refused(module.Group.inner)


def test_an_edit_that_python_does_not_compile(imported: Write) -> None:
    module = imported(TEXT)
    rewrite(module, "    return local", "    return local; nonlocal nothing")
    assert refused(module.program.function)


def test_a_program_is_refused_as_a_whole(imported: Write) -> None:
    """It names a function that was edited; the program itself was not."""
    module = imported(TEXT)
    rewrite(module, "x + 1", "x + 2")
    with pytest.raises(CompileError, match="`helped` has changed in its file since it was imported"):
        compile_programs([module.program.__bpf__])
    sys.modules.pop(module.__name__)
    again = imported(Path(str(module.__file__)).read_text())
    assert compile_programs([again.program.__bpf__]).object.programs


def test_the_unedited_module_from_bytecode(imported: Write) -> None:
    """What Python reads from ``__pycache__`` is the same as what it compiles."""
    module = imported(TEXT)
    sys.modules.pop(module.__name__)
    again = importlib.import_module(module.__name__)
    assert again is not module
    for function_of in FUNCTIONS.values():
        parse_function(function_of(again))


@pytest.mark.filterwarnings("ignore:.is. with a literal:SyntaxWarning")
def test_warnings_are_not_told_again(imported: Write) -> None:
    module = imported("def odd(n):\n    return n is 4\n")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        parse_function(module.odd)


def test_a_script(tmp_path: Path) -> None:
    """``__main__`` has no import system's loader when it is run by ``pyebpf run``."""
    path = tmp_path / "script.py"
    path.write_text(TEXT)
    function = runpy.run_path(str(path), run_name="__main__")["helped"]
    space = function.__globals__
    space.update(__file__=str(path), __name__="__main__")  # runpy clears them at the end of the script
    assert comparable(function)
    parse_function(function)
    path.write_text(TEXT.replace("x + 1", "x + 2"))
    assert refused(function)


def test_what_another_loader_made_is_not_compared() -> None:
    """pytest rewrites the assertions of its modules, so that their code is never that of the text."""

    def asserting(x: int) -> int:
        assert x
        return x

    assert isinstance(asserting, FunctionType) and not comparable(asserting)
    parse_function(asserting)
