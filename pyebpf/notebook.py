"""Rich displays in notebooks: programs with source beside assembly, maps as tables, results, diagnostics.

Plain HTML without scripts; every text from programs and packets is escaped. ``install`` is called by ``import
pyebpf`` in IPython: it names cells as their users know them and registers displays for the types of the runtime.
"""

from __future__ import annotations

import linecache
from collections.abc import Iterable, Iterator, Mapping, Sequence
from html import escape
from itertools import islice
from pathlib import Path

from pyebpf.diagnostics import CompileError, file_title, file_titles
from pyebpf.hints import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from typing import Final

    from pyebpf.backend.listing import Listed
    from pyebpf.declare import MapDecl, ProgramDecl
    from pyebpf.runtime.maps import MappingMap
    from pyebpf.runtime.run_result import RunResult

ROWS: Final = 50
"""How many elements of a map are shown."""

SHOWN_BYTES: Final = 128
"""How much of a packet is shown."""

_CODE: Final = "text-align:left;white-space:pre;font-family:monospace;vertical-align:top"
_TABLE: Final = "border-collapse:collapse"


def install() -> None:
    """Register with the running IPython, if there is one; again is harmless."""
    from pyebpf.cells import shell

    running = shell()
    if running is None or _cell_title in file_titles:
        return
    file_titles.append(_cell_title)
    html = running.display_formatter.formatters["text/html"]
    html.for_type_by_name("pyebpf.runtime.run_result", "RunResult", result_html)


def _cell_title(file: str) -> str | None:
    """``Cell In[3]`` for the file name that IPython gives to the text of a cell."""
    from pyebpf.cells import shell

    name = getattr(shell().compile, "format_code_name", lambda _: None)(file)
    return None if name is None else f"{name[0]} {name[1]}"


def table(head: Sequence[str], rows: Iterable[Sequence[str]], *, style: str = "text-align:left") -> str:
    """A table of texts, which are escaped here."""
    titles = "".join(f'<th style="text-align:left">{escape(title)}</th>' for title in head)
    body = "".join(
        "<tr>" + "".join(f'<td style="{style}">{escape(text)}</td>' for text in row) + "</tr>" for row in rows
    )
    return f'<table style="{_TABLE}"><thead><tr>{titles}</tr></thead><tbody>{body}</tbody></table>'


def _titled(title: str, body: str) -> str:
    return f"<div><b>{escape(title)}</b>{body}</div>"


# ---------------------------------------------------------------- programs


def program_html(decl: ProgramDecl) -> str:
    """The Python lines of a program, each beside the instructions made from it; its diagnostics if it is refused."""
    from pyebpf.backend.listing import instructions
    from pyebpf.driver import compile_programs
    from pyebpf.session import is_loaded

    try:
        spec = compile_programs([decl]).object
    except CompileError as error:
        return diagnostics_html(error)
    program = spec.programs[decl.name]
    functions = [program, *spec.functions.values()]
    made = [insn for function in functions for insn in instructions(function, spec.little_endian)]
    count = sum(len(function.code) // 8 for function in functions)
    state = "loaded" if is_loaded(decl) else "not loaded"
    title = f"{decl.kind.name} program {decl.name}: {count} instructions, {state}"
    return _titled(title, table(["", "Python", "eBPF"], _lines(decl, made), style=_CODE))


def _lines(decl: ProgramDecl, made: Sequence[Listed]) -> Iterator[tuple[str, str, str]]:
    by_line: dict[tuple[str, int], list[str]] = {}
    for insn in made:
        place = ("", 0) if insn.line is None else (insn.line.file, insn.line.line)
        by_line.setdefault(place, []).append(f"{insn.slot:4}: {insn.words}")
    code = decl.function.__code__
    own = {line for *_, line in code.co_lines() if line is not None}
    wanted = {(code.co_filename, line) for line in range(code.co_firstlineno, max(own) + 1)}
    file = code.co_filename
    for place in sorted({*wanted, *by_line}, key=lambda p: (p[0] != code.co_filename, p)):
        if place[0] != file:
            file = place[0]
            yield "", Path(file_title(file)).name, ""
        text = linecache.getline(*place).rstrip()
        yield str(place[1] or ""), text, "\n".join(by_line.get(place, ()))


# ---------------------------------------------------------------- maps


def map_html(decl: MapDecl, title: str) -> str:
    """The elements of a map as a table: a column for each field of a struct, zeros of arrays left out."""
    from pyebpf.runtime.map_kinds import FdMap
    from pyebpf.runtime.maps import MappingMap
    from pyebpf.session import find_map, in_machine

    live = find_map(decl)
    if live is None:
        return _titled(f"{title}: not made yet", "")
    where = "in the built-in machine" if in_machine() else "in the kernel"
    if not isinstance(live, MappingMap) or isinstance(live, FdMap):
        return _titled(f"{title}, {where}", "")
    return _titled(f"{title}, {where}", elements_html(live))


def elements_html(live: MappingMap) -> str:
    """The elements of a live map as a table."""
    from pyebpf.runtime.maps import ArrayMap

    pairs: Iterator[tuple[Any, Any]] = iter(live.items())
    note = ""
    if isinstance(live, ArrayMap):
        pairs = ((key, value) for key, value in pairs if not _is_zero(value))
        note = "<p>Elements that are zero are not shown.</p>"
    shown = list(islice(pairs, ROWS))
    if next(pairs, None) is not None:
        note += f"<p>These are the first {ROWS}.</p>"
    if not shown:
        return "<p>empty</p>" if not note else "<p>all zero</p>"
    keys, values = (
        [_columns("key", key) for key, _ in shown],
        [_columns("value", value) for _, value in shown],
    )
    rows = [[*key.values(), *value.values()] for key, value in zip(keys, values, strict=True)]
    return table([*keys[0], *values[0]], rows) + note


def _columns(name: str, value: Any) -> dict[str, str]:
    """A value as one column, or a struct as one for each field."""
    from pyebpf.structs import Struct

    if isinstance(value, Struct):
        return {field.name: repr(getattr(value, field.name)) for field in type(value).__bpf__.fields}
    return {name: repr(value)}


def _is_zero(value: Any) -> bool:
    from pyebpf.structs import Struct

    match value:
        case tuple():
            return all(_is_zero(one) for one in value)
        case Struct():
            return all(_is_zero(getattr(value, field.name)) for field in type(value).__bpf__.fields)
        case bytes():
            return not any(value)
        case _:
            return not value


# ---------------------------------------------------------------- results and diagnostics


def result_html(result: RunResult) -> str:
    """Verdict, time and the packet after the run."""
    rows: Mapping[str, str] = {
        "verdict": str(result.verdict),
        "ran in": "the built-in machine" if result.machine else "the kernel",
        "time per run": f"{result.duration} ns",
    }
    dump = "\n".join(hexdump(result.data[:SHOWN_BYTES]))
    more = len(result.data) - SHOWN_BYTES
    tail = f"\n… {more} bytes more" if more > 0 else ""
    packet = f'<pre style="line-height:1.2">{escape(dump + tail)}</pre>' if dump else ""
    return table(["run", ""], rows.items()) + packet


def hexdump(data: bytes) -> Iterator[str]:
    """Sixteen bytes to a line, in hexadecimal and as ASCII."""
    for start in range(0, len(data), 16):
        row = data[start : start + 16]
        text = "".join(chr(byte) if 32 <= byte < 127 else "." for byte in row)
        yield f"{start:04x}  {row.hex(' '):<47}  {text}"


def diagnostics_html(error: CompileError) -> str:
    """Every diagnostic, with the source lines and the carets below them."""
    return f'<pre style="line-height:1.2">{escape(str(error))}</pre>'
