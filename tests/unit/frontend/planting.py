"""Programs with something planted in them: a template marks a place, and what stands there is exchanged.

``«1»`` in a template is a place where ``1`` stands; ``plant`` puts something else there and tells where it is.
"""

from __future__ import annotations

import linecache
import re
import sys
import types
from dataclasses import dataclass
from itertools import count

from pyebpf.declare import ProgramDecl, declaration_of
from pyebpf.diagnostics import CompileError, Diagnostic, Span
from pyebpf.frontend import tree
from pyebpf.frontend.infer import analyze
from pyebpf.target import Target

PREAMBLE = """\
from __future__ import annotations

import enum
import socket

import pyebpf as bpf
from pyebpf import be16, i64, u8, u16, u32, u64

bpf.license("GPL")

numbers = bpf.ArrayMap[u32, u64](max_entries=4)
table = bpf.HashMap[u32, u64](max_entries=4, default=0)
bytewise = bpf.HashMap[u32, u8](max_entries=4)
events = bpf.RingBuf(4096)
hits = bpf.Global[u64](0)
NUMBERS = (1, 2, 3)


class Color(enum.IntEnum):
    RED = 1
    BLUE = 2


@bpf.struct
class Pair:
    left: u32
    right: u32


def add(a, b=2):
    return a + b

"""

PROGRAM = """
@bpf.socket_filter
def program(skb: bpf.SkBuff) -> int:
    n = len(skb)
    pair = Pair(left=n)
{body}
    return n
"""

_PLACE = re.compile("«(.*?)»", re.DOTALL)
_numbers = count()


@dataclass(frozen=True)
class Planted:
    """A module's text and where in it something was planted."""

    source: str
    file: str
    span: Span


def program_text(body: str, *, globals_: str = "") -> str:
    """A module with one program that has ``body``."""
    lines = "\n".join(f"    {line}" if line else "" for line in body.strip("\n").split("\n"))
    return PREAMBLE + globals_ + PROGRAM.format(body=lines)


def plant(template: str, text: str | None = None) -> Planted:
    """The module of a template with ``text`` in its marked place; without it, with what stands there."""
    found = _PLACE.search(template)
    assert found is not None, "the template marks no place"
    middle = found[1] if text is None else text
    before, after = template[: found.start()], template[found.end() :]
    assert "«" not in after, "one place for each template"
    file = f"<template {next(_numbers)}>"
    span = _span(file, before, middle)
    return Planted(before + middle + after, file, span)


def _span(file: str, before: str, middle: str) -> Span:
    line, column = before.count("\n") + 1, len(before) - before.rfind("\n")
    last = middle.count("\n")
    end_column = column + len(middle) if not last else len(middle) - middle.rfind("\n")
    return Span(file, line, column, line + last, end_column)


def module_of(source: str, file: str) -> types.ModuleType:
    """``source`` as an imported module, with its lines known to ``inspect``."""
    name = f"planted_{next(_numbers)}"
    linecache.cache[file] = (len(source), None, source.splitlines(keepends=True), file)
    module = types.ModuleType(name)
    module.__file__ = file
    sys.modules[name] = module
    try:
        exec(compile(source, file, "exec"), module.__dict__)
    finally:
        del sys.modules[name]
    return module


def analysed(planted: Planted, target: Target) -> tree.Unit:
    """The typed tree of the module's ``program``. Raises ``CompileError``."""
    decl = declaration_of(module_of(planted.source, planted.file).__dict__["program"])
    assert isinstance(decl, ProgramDecl)
    return analyze([decl], target, "GPL")


def refusals(planted: Planted, target: Target) -> tuple[Diagnostic, ...]:
    """Why the module's ``program`` is refused; empty if it is accepted."""
    try:
        analysed(planted, target)
    except CompileError as error:
        return error.diagnostics
    return ()


def within(inner: Span, outer: Span) -> bool:
    """Whether one place lies inside the other."""
    return (
        inner.file == outer.file
        and (outer.line, outer.column) <= (inner.line, inner.column)
        and (inner.end_line, inner.end_column) <= (outer.end_line, outer.end_column)
    )


def meets(one: Span, two: Span) -> bool:
    """Whether two places share a character, or one is empty and in the other."""
    return (
        one.file == two.file
        and (one.line, one.column) <= (two.end_line, two.end_column)
        and (two.line, two.column) <= (one.end_line, one.end_column)
    )
