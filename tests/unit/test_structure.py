"""The package is laid out as docs/architecture.md says: packages, links, direction of imports."""

from __future__ import annotations

import ast
import importlib
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
LINKED = ("frontend", "backend", "runtime")

FLOOR = (
    "hints",
    "enums",
    "records",
    "collecting",
    "running",
    "near_names",
    "codes",
    "diagnostics",
    "tracebacks",
    "layout",
    "target",
    "uapi",
    "btf",
    "declare",
    "object",
    "ir",
)
"""Lowest first; each imports only those before it (and itself)."""

VOCABULARY = (
    "structs",
    "lang",
    "maps",
    "streams",
    "program",
    "tracing",
    "contexts",
    "decorators",
    "looking",
    "kernel",
    "names",
)


def sources() -> list[Path]:
    """Every module of the package, by its real place."""
    found = [p for p in (ROOT / "pyebpf").rglob("*.py") if not any(part in LINKED for part in p.parts)]
    for folder in LINKED:
        found += (ROOT / folder).rglob("*.py")
    return sorted(found)


def area(name: str) -> str:
    """``pyebpf.backend.insn`` → ``backend``; ``pyebpf`` → ``pyebpf``."""
    parts = name.split(".")
    return parts[1] if len(parts) > 1 else parts[0]


def area_of(path: Path) -> str:
    """The area that a file belongs to."""
    relative = path.relative_to(ROOT).with_suffix("")
    parts = relative.parts[1:] if relative.parts[0] == "pyebpf" else relative.parts
    return "pyebpf" if parts == ("__init__",) else parts[0]


def imports(path: Path, *, top_only: bool) -> set[str]:
    """The pyebpf modules that a file imports; ``top_only``: not those inside functions or TYPE_CHECKING."""
    found: set[str] = set()

    def visit(node: ast.AST) -> None:
        for child in ast.iter_child_nodes(node):
            if top_only and isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef):
                continue
            if (
                isinstance(child, ast.If)
                and isinstance(child.test, ast.Name)
                and child.test.id == "TYPE_CHECKING"
            ):
                continue
            if isinstance(child, ast.ImportFrom) and child.module and child.module.split(".")[0] == "pyebpf":
                if child.module == "pyebpf":
                    found.update(f"pyebpf.{alias.name}" for alias in child.names)
                else:
                    found.add(child.module)
            elif isinstance(child, ast.Import):
                found.update(alias.name for alias in child.names if alias.name.split(".")[0] == "pyebpf")
            visit(child)

    visit(ast.parse(path.read_text()))
    return found


DEAR = {"dataclasses", "enum", "typing"}
"""Modules of the standard library that are slow to import; ours stand for them: records, enums, hints."""
PAYS = {"pyebpf/kernel_commands.py", "backend/llvm_worker.py"}
"""Modules that may import them: a command, and a process without the package."""


def allowed(place: str, path: Path) -> set[str] | None:
    """The areas that a file of ``place`` may import at all; ``None``: everything (the roof)."""
    if place in FLOOR:
        return set(FLOOR[: FLOOR.index(place) + 1])
    if place in ("frontend", "backend"):
        return {*FLOOR, place}
    if place == "runtime":
        return {*FLOOR, "runtime", "backend"}
    return None


@pytest.mark.parametrize("path", sources(), ids=lambda p: str(p.relative_to(ROOT)))
def test_imports_go_one_way(path: Path) -> None:
    if "tools" in path.parts:
        return
    place = area_of(path)
    may = allowed(place, path)
    for name in imports(path, top_only=False):
        if may is not None:
            assert area(name) in may, f"{place} must not import {name}"
        if place == "runtime" and area(name) == "backend":
            assert name.startswith(("pyebpf.backend.insn", "pyebpf.backend.elf")), name
    if place in VOCABULARY or place == "pyebpf":
        for name in imports(path, top_only=True):
            assert area(name) in {*FLOOR, *VOCABULARY}, f"{place} must reach {name} lazily"


def test_every_module_can_be_imported() -> None:
    for path in sources():
        if "tools" in path.parts or path.name == "__main__.py":
            continue
        relative = path.relative_to(ROOT).with_suffix("")
        parts = [part for part in relative.parts if part not in ("pyebpf", "__init__")]
        importlib.import_module(".".join(["pyebpf", *parts]))


def test_no_import_cycles() -> None:
    graph: dict[str, set[str]] = {}
    for path in sources():
        if "tools" in path.parts:
            continue
        relative = path.relative_to(ROOT).with_suffix("")
        parts = relative.parts if relative.parts[0] == "pyebpf" else ("pyebpf", *relative.parts)
        name = ".".join(parts).removesuffix(".__init__")
        graph[name] = {n for n in imports(path, top_only=True) if n != name}
    done: set[str] = set()

    def walk(name: str, trail: tuple[str, ...]) -> None:
        assert name not in trail, " → ".join((*trail[trail.index(name) :], name))
        if name in done or name not in graph:
            return
        for other in graph[name]:
            walk(other, (*trail, name))
        done.add(name)

    for name in graph:
        if name != "pyebpf":
            walk(name, ())


def test_packages_links_and_tree_agree() -> None:
    config = tomllib.loads((ROOT / "pyproject.toml").read_text())
    listed = set(config["tool"]["setuptools"]["packages"])
    found = set()
    for path in sources():
        if path.name == "__init__.py":
            parts = path.relative_to(ROOT).parent.parts
            found.add(".".join(parts if parts[0] == "pyebpf" else ("pyebpf", *parts)))
    found = {name for name in found if not name.endswith(".tools")}
    assert listed == found
    for folder in LINKED:
        link = ROOT / "pyebpf" / folder
        assert link.is_symlink()
        assert link.readlink() == Path("..") / folder


@pytest.mark.parametrize("path", sources(), ids=lambda p: str(p.relative_to(ROOT)))
def test_slow_modules_have_ours_in_their_place(path: Path) -> None:
    if "tools" in path.parts or str(path.relative_to(ROOT)) in PAYS:
        return
    for node in ast.parse(
        path.read_text()
    ).body:  # what is inside TYPE_CHECKING or a function is not at the top
        if isinstance(node, ast.Import):
            assert not DEAR & {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.module not in DEAR
