"""The source of a function: where it is found, the places of its nodes, and what is said where there is none."""

from __future__ import annotations

import ast
import linecache
import subprocess
import sys
import textwrap
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import astroid
import pytest

from pyebpf.codes import Code
from pyebpf.diagnostics import CompileError
from pyebpf.frontend.astroid_tree import UnsupportedParser, rebuild
from pyebpf.frontend.parse import parse_function


def defined(source: str, name: str = "f", file: str = "<cell 1>", *, keep: bool = True) -> types.FunctionType:
    """A function of ``source`` as a notebook cell would define it; ``keep``: Python keeps the text."""
    source = textwrap.dedent(source)
    linecache.cache.pop(file, None)
    if keep:
        linecache.cache[file] = (len(source), None, source.splitlines(keepends=True), file)
    space: dict[str, Any] = {}
    exec(compile(source, file, "exec"), space)
    found = space[name]
    assert isinstance(found, types.FunctionType)
    return found


def refused(function: types.FunctionType) -> tuple[Code, str]:
    """Why a function cannot be parsed."""
    with pytest.raises(CompileError) as caught:
        parse_function(function)
    (diagnostic,) = caught.value.diagnostics
    return diagnostic.code, diagnostic.message


def test_places_are_those_of_the_file() -> None:
    """Lines and columns count in the whole file, for nested and decorated functions too."""
    f = defined(
        """
        def keep(function):
            return function

        def factory(n):
            if n:
                @keep
                def inner(a):
                    return a + n
                return inner

        f = factory(3)
        """
    )
    parsed = parse_function(f)
    value = parsed.node.body[0].value
    span = parsed.source.span(value)
    assert (span.file, span.line, span.column, span.end_line, span.end_column) == ("<cell 1>", 9, 20, 9, 25)
    assert str(parsed.source.name_span(parsed.node)) == "<cell 1>:8:9"


def test_columns_count_characters() -> None:
    """Python counts UTF-8 bytes; people do not."""
    parsed = parse_function(defined('def f(ä):\n    return "äöü" + ä\n'))
    right = parsed.node.body[0].value.right
    span = parsed.source.span(right)
    assert (span.column, span.end_column) == (20, 21)


def test_names_of_parameters_have_places() -> None:
    """``Arguments`` has no place of its own; its nearest positioned parent counts."""
    parsed = parse_function(defined("def f(a,\n      b=3):\n    return a\n"))
    assert str(parsed.source.span(parsed.node.args)) == "<cell 1>:1:1"
    assert str(parsed.source.span(parsed.node.args.args[1])) == "<cell 1>:2:7"


def test_functions_on_one_line_by_name() -> None:
    """Two functions that begin on the same line are told apart by their names."""
    parsed = parse_function(defined("def g(): return 1\nif True:\n    def f(): return 2\n"))
    assert parsed.node.name == "f"


def test_a_file_on_disk(tmp_path: Path) -> None:
    """The usual case: the text comes from the file."""
    path = tmp_path / "module.py"
    path.write_text("\n\ndef f():\n    return 1\n")
    space: dict[str, Any] = {}
    exec(compile(path.read_text(), str(path), "exec"), space)
    parsed = parse_function(space["f"])
    assert str(parsed.source.name_span(parsed.node)) == f"{path}:3:1"


def test_no_source() -> None:
    """A function from a string that Python does not keep."""
    code, message = refused(defined("def f():\n    return 1\n", file="<gone>", keep=False))
    assert code is Code.E0102
    assert message == "the source of `f` is not available"


def test_changed_source(tmp_path: Path) -> None:
    """The file was edited after the import: the function is not where its code says."""
    path = tmp_path / "edited.py"
    path.write_text("def f():\n    return 1\n")
    space: dict[str, Any] = {}
    exec(compile(path.read_text(), str(path), "exec"), space)
    path.write_text("# a new first line\ndef f():\n    return 1\n")
    linecache.checkcache(str(path))
    assert refused(space["f"])[0] is Code.E0102
    path.write_text("def f(:\n")
    space["f"].__code__ = space["f"].__code__.replace(co_name="f")
    linecache.checkcache(str(path))
    assert refused(space["f"])[0] is Code.E0102


@pytest.mark.parametrize(
    "source",
    [
        "f = lambda x: x",
        "def f():\n    yield 1",
        "async def f():\n    return 1",
        "async def f():\n    yield 1",
    ],
)
def test_no_plain_function(source: str) -> None:
    """Lambdas, generators and coroutines are no programs."""
    assert refused(defined(source))[0] is Code.E0103


_SAMPLES = [
    "def f(a, b: int = 3, /, c=4, *, d=5) -> int:\n    '''doc'''\n    return a",
    "def f(x):\n    x.y[1:2:3] += 4\n    del x[0], x[1]\n    return (y := x) or not y",
    "def f(x):\n    match x:\n        case A.B | 3: pass\n        case {'k': v, **r}: pass\n"
    "        case [a, *b]: pass\n"
    "        case C(d, e=1) as g if g: pass\n        case None: pass\n        case _: pass",
    "def f(x):\n    try:\n        with a as b, c:\n            raise X from y\n    except (A, B) as e:\n        raise\n"
    "    else:\n        pass\n    finally:\n        assert x, 'm'",
    "def f(x):\n    for i, *j in x:\n        continue\n    else:\n        break_ = 1\n    while x: break\n"
    "    return f'{x!r:>{x}} {x:08x}' 'y'",
    "def f(x):\n    def g(): nonlocal x; x = 1\n    global h\n    return [i for i in x if i], {1: 2}, {3}, lambda: 0",
    "def f(x):\n    x: int = 3\n    y: 'str'\n    import a.b as c\n"
    "    from d import e\n    class K(L, m=1): pass\n    return x < 1 <= 2",
]


def test_rebuilt_as_astroid_does() -> None:
    """The internal rebuilder gives the same tree as ``astroid.parse``, places included."""
    for source in _SAMPLES:
        ours = parse_function(defined(source + "\n")).node
        theirs = astroid.parse(source).body[0]
        assert list(_shape(ours)) == list(_shape(theirs)), source


ROOT = Path(__file__).resolve().parents[3]
CORPUS = sorted([*(ROOT / "samples").glob("*.py"), *(ROOT / "frontend").glob("b*.py")])


@pytest.mark.parametrize("path", CORPUS, ids=lambda p: p.stem)
def test_functions_of_whole_files_are_rebuilt_as_astroid_does(path: Path) -> None:
    text = path.read_text()
    theirs = [node for node in astroid.parse(text).body if type(node).__name__ == "FunctionDef"]
    ours = [rebuild(node, text) for node in ast.parse(text).body if isinstance(node, ast.FunctionDef)]
    assert len(ours) == len(theirs)
    for one, other in zip(ours, theirs, strict=True):
        assert list(_shape(one)) == list(_shape(other)), one.name
        assert one.position == other.position


def _shape(node: Any) -> Iterator[tuple[Any, ...]]:
    place = (node.lineno, node.col_offset, node.end_lineno, node.end_col_offset)
    names = [getattr(node, field, None) for field in ("name", "attrname", "op")]
    yield (type(node).__name__, place, *(name for name in names if isinstance(name, str)))
    for child in node.get_children():
        yield from _shape(child)


def test_decorators_of_other_modules() -> None:
    """A function is found by its own code, whatever its decorators made of it."""

    def through(function: Callable[..., int]) -> Callable[..., int]:
        return function

    @through
    def decorated(x: int) -> int:
        return x

    assert isinstance(decorated, types.FunctionType)
    node = parse_function(decorated).node
    assert node.name == "decorated"
    text = Path(__file__).read_text().splitlines()
    assert ast.parse(textwrap.dedent("\n".join(text[node.lineno - 1 : node.end_lineno])))


def test_an_astroid_that_is_not_known_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(astroid, "__version__", "5.0.1")
    (definition,) = ast.parse("def f(): pass").body
    assert isinstance(definition, ast.FunctionDef)
    with pytest.raises(UnsupportedParser, match=r"astroid 4, and this is astroid 5\.0\.1.*pip install"):
        rebuild(definition, "def f(): pass")


def test_nothing_is_bootstrapped() -> None:
    """A compilation leaves astroid's model of the builtins unbuilt."""
    script = (
        "import sys, astroid\n"
        "from pyebpf.cli import import_file, programs_of\n"
        "from pathlib import Path\n"
        "from pyebpf.driver import compile_programs\n"
        "compile_programs(programs_of(import_file(Path(sys.argv[1]))))\n"
        "print(sorted(astroid.manager.AstroidManager().astroid_cache))\n"
    )
    sample = ROOT / "samples" / "protocol_count.py"
    done = subprocess.run([sys.executable, "-c", script, sample], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
