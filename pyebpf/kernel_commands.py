"""The commands that ask the kernel: ``pyebpf hooks`` where programs can go, ``pyebpf list`` what is loaded, and ``pyebpf
stubs``, which tells editors the fields of the kernel's types."""

from __future__ import annotations

import argparse
import ast
import json
import keyword
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path

from pyebpf.diagnostics import PyebpfError
from pyebpf.hints import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pyebpf import btf
    from pyebpf.runtime.hooks import Hook

_MOST_STRUCTS = 400


class NothingFound(PyebpfError):
    """The kernel has nothing of what was asked for."""


# ---------------------------------------------------------------- hooks


def hooks(args: argparse.Namespace) -> int:
    """``pyebpf hooks PATTERN [--in FILE]``: places for programs, how to use them, and why not."""
    from pyebpf.near_names import near
    from pyebpf.runtime.hooks import hook_names, hooks_for
    from pyebpf.runtime.user_hooks import user_hook_names, user_hooks

    found = user_hooks(args.file, args.pattern) if args.file is not None else hooks_for(args.pattern)
    if args.json:
        print(json.dumps([_as_data(asdict(hook)) for hook in found], indent=2))
        return 0 if found else 1
    if not found:
        known = user_hook_names(args.file) if args.file is not None else hook_names()
        similar = " or ".join(f"`{name}`" for name in near(args.pattern, known))
        more = f"did you mean {similar}?" if similar else "patterns such as `*read*` find more"
        raise NothingFound(f"nothing in {args.file or 'this kernel'} is called {args.pattern!r}; {more}")
    for hook in found:
        print("\n".join(_about(hook)))
    return 0


def _as_data(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _as_data(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_as_data(item) for item in value]
    return getattr(value, "value", value)


def _about(hook: Hook) -> Iterator[str]:
    yield f"{hook.kind.value} {hook.name}"
    if hook.arguments is None:
        yield "    arguments: not known"
    elif hook.arguments:
        yield "    arguments: " + ", ".join(
            f"{a.name}: {a.type}" if a.name else a.type for a in hook.arguments
        )
    if hook.result:
        yield f"    returns: {hook.result}"
    if hook.ways:
        yield "    usable by: " + ", ".join(way.value for way in hook.ways)
    for refusal in hook.refused:
        yield f"    not by {refusal.way.value}: {refusal.reason}"


# ---------------------------------------------------------------- list


def listing(args: argparse.Namespace) -> int:
    """``pyebpf list progs|maps|links``: what is loaded on this machine."""
    from pyebpf.runtime import listing as loaded

    match args.what:
        case "progs":
            programs = loaded.loaded_programs()
            if args.json:
                return _print_json(programs)
            _table(
                ("ID", "TYPE", "NAME", "UID", "XLATED", "JITED", "RUNS", "NS/RUN", "MAPS"),
                [
                    (
                        str(p.id),
                        _name(p.type),
                        p.name,
                        str(p.uid),
                        str(p.xlated_size),
                        str(p.jited_size),
                        str(p.statistics.run_cnt),
                        f"{p.statistics.mean_ns:.0f}",
                        " ".join(map(str, p.map_ids)),
                    )
                    for p in programs
                ],
            )
        case "maps":
            maps = loaded.loaded_maps()
            if args.json:
                return _print_json(maps)
            _table(
                ("ID", "TYPE", "NAME", "KEY", "VALUE", "ENTRIES"),
                [
                    (str(m.id), _name(m.type), m.name, str(m.key_size), str(m.value_size), str(m.max_entries))
                    for m in maps
                ],
            )
        case "links":
            links = loaded.loaded_links()
            if args.json:
                return _print_json(links)
            _table(
                ("ID", "TYPE", "PROGRAM", "WHERE"),
                [(str(one.id), _name(one.type), str(one.program_id), one.target) for one in links],
            )
    return 0


def _name(kind: object) -> str:
    return str(getattr(kind, "name", kind)).lower()


def _print_json(entries: Sequence[Any]) -> int:
    print(json.dumps([_as_data(asdict(entry)) for entry in entries], indent=2))
    return 0


def _table(head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> None:
    widths = [max(len(row[n]) for row in (head, *rows)) for n in range(len(head))]
    for row in (head, *rows):
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


# ---------------------------------------------------------------- stubs


def stubs(args: argparse.Namespace) -> int:
    """``pyebpf stubs FILES``: ``pyebpf/kernel.pyi`` with the kernel's types that the files import, in the folder given."""
    from pyebpf.driver import running_facts

    wanted = {alias.name: (file, alias) for file in args.files for alias in _imported(file)}
    if not wanted:
        raise NothingFound("none of the files imports a type from pyebpf.kernel")
    spec = running_facts(args.btf).types()
    if spec is None:
        raise NothingFound(
            "the types of this kernel are not known; name a file that has some: --btf vmlinux.btf"
        )
    names = sorted(wanted)
    for name in names:
        if _type_called(spec, name) is None:
            raise _no_type(spec, *wanted[name])
    text = stub_text(spec, names)
    target: Path = args.output / "pyebpf" / "kernel.pyi"
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(text)
    package = target.parent / "py.typed"
    package.write_text("partial\n")
    print(f"{target}: {', '.join(names)}")
    return 0


def _imported(file: Path) -> Iterator[ast.alias]:
    try:
        module = ast.parse(file.read_bytes(), file)
    except (SyntaxError, ValueError) as error:  # the second for a zero byte
        raise NothingFound(f"{file}: this is no Python: {error}") from None
    for node in ast.walk(module):
        if isinstance(node, ast.ImportFrom) and node.module == "pyebpf.kernel" and not node.level:
            yield from node.names


def _type_called(spec: btf.Spec, name: str) -> btf.Type | None:
    from pyebpf import btf
    from pyebpf.frontend.kernel_types import NAMED

    return btf.skip_modifiers(spec.find(name, *NAMED))


def _no_type(spec: btf.Spec, file: Path, alias: ast.alias) -> NothingFound:
    from pyebpf.frontend.kernel_types import NAMED
    from pyebpf.near_names import near

    similar = " or ".join(f"`{name}`" for name in near(alias.name, spec.names(*NAMED)))
    more = f"; did you mean {similar}?" if similar else ""
    place = f"{file}:{alias.lineno}:{alias.col_offset + 1}"
    return NothingFound(f"{place}: this kernel has no type {alias.name!r}{more}")


def stub_text(spec: btf.Spec, names: Sequence[str]) -> str:
    """Classes for the types called ``names`` and those that one gets to from them, up to a few hundred."""
    from pyebpf.frontend.kernel_types import Composite, member_types

    work: list[str] = list(names)
    known: dict[str, Composite] = {}
    scalars: list[str] = []
    while work:
        name = work.pop(0)
        if name in known or name in scalars:
            continue
        found = _type_called(spec, name)
        if not isinstance(found, Composite):
            if name in names:
                scalars.append(name)
            continue
        if len(known) >= _MOST_STRUCTS:
            continue
        known[name] = found
        for _, type_ in member_types(found):
            inner = _struct_of(type_)
            if inner is not None and inner not in known:
                work.append(inner)
    lines = ['"""Types of the kernel, written by `pyebpf stubs`."""', "", "from typing import Any", ""]
    lines += [f"{name} = int" for name in scalars]
    for name, of in known.items():
        lines += ["", f"class {name}:"]
        fields = [
            f"    {field}: {_annotation(type_, known)}"
            for field, type_ in member_types(of)
            if field.isidentifier() and not keyword.iskeyword(field)
        ]
        lines += fields or ["    pass"]
    lines += ["", "def __getattr__(name: str) -> Any: ...", ""]
    return "\n".join(lines)


def _struct_of(type_: btf.Type | None) -> str | None:
    from pyebpf import btf

    inner = btf.skip_modifiers(type_)
    while isinstance(inner, btf.Ptr | btf.Array):
        inner = btf.skip_modifiers(inner.target if isinstance(inner, btf.Ptr) else inner.element)
    return inner.name if isinstance(inner, btf.Struct | btf.Union) and inner.name else None


def _annotation(type_: btf.Type | None, known: dict[str, Any]) -> str:
    from pyebpf import btf

    inner = btf.skip_modifiers(type_)
    match inner:
        case btf.Int() | btf.Enum() | btf.Enum64():
            return "int"
        case btf.Array(element=element):
            of = _annotation(element, known)
            return "bytes" if of == "int" and btf.size_of(element) == 1 else f"list[{of}]"
        case btf.Ptr() | btf.Struct() | btf.Union():
            name = _struct_of(inner)
            return f'"{name}"' if name in known else "Any"
        case _:
            return "Any"
