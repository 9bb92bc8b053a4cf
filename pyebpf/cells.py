"""Cells that are run again: what they define anew replaces what was attached and loaded before.

In IPython and notebooks a program goes out of the kernel when its cell is run again, and when a cell defines one
of its parts anew: a map, a variable, a struct or a function that it names. Its next use compiles it with what the
names mean then. Plain constants do not count: names such as ``i`` are used for many things. In scripts nothing of
this happens.
"""

from __future__ import annotations

import sys
import types
from weakref import WeakKeyDictionary, WeakValueDictionary

from pyebpf.declare import FunctionDecl, ProgramDecl, declaration_of
from pyebpf.hints import Any

_newest: WeakValueDictionary[tuple[str, str], ProgramDecl] = WeakValueDictionary()
_cell_of: WeakKeyDictionary[ProgramDecl, int] = WeakKeyDictionary()
_parts: WeakKeyDictionary[ProgramDecl, dict[str, object]] = WeakKeyDictionary()


def shell() -> Any:
    """IPython's shell of this process, or ``None``: then this is a script or Python's own prompt."""
    ipython = sys.modules.get("IPython")
    return None if ipython is None else ipython.get_ipython()


def declared(decl: ProgramDecl) -> None:
    """A decorator made a program: one of the same name from an earlier cell is withdrawn."""
    running = shell()
    function = decl.function
    if running is None or function.__module__ != "__main__" or "<locals>" in function.__qualname__:
        return
    name = (function.__module__, function.__qualname__)
    before = _newest.get(name)
    if before is not None and _cell_of.get(before) != running.execution_count:
        _withdraw(before)
    _newest[name] = decl
    _cell_of[decl] = running.execution_count


def loaded(decl: ProgramDecl) -> None:
    """A program was compiled and loaded: remember what its names meant."""
    running = shell()
    if running is None or decl.function.__module__ != "__main__":
        return
    _parts[decl] = parts_of(decl.function)
    if after_cell not in running.events.callbacks["post_run_cell"]:
        running.events.register("post_run_cell", after_cell)


def after_cell(result: object = None) -> None:
    """Withdraw the programs whose parts the cell defined anew."""
    for decl, parts in list(_parts.items()):
        namespace = decl.function.__globals__
        if any(namespace.get(name, part) is not part for name, part in parts.items()):
            _withdraw(decl)


def parts_of(function: types.FunctionType) -> dict[str, object]:
    """The declarations and functions that a function names, itself and through functions of its module."""
    found: dict[str, object] = {}
    waiting = [function]
    while waiting:
        one = waiting.pop()
        for name in _names(one.__code__) - found.keys():
            value = one.__globals__.get(name)
            decl = declaration_of(value)
            called = decl.function if isinstance(decl, FunctionDecl) else value
            if isinstance(called, types.FunctionType) and called.__globals__ is function.__globals__:
                waiting.append(called)
                found[name] = value
            elif decl is not None:
                found[name] = value
    return found


def _names(code: types.CodeType) -> set[str]:
    inner = (const for const in code.co_consts if isinstance(const, types.CodeType))
    return set(code.co_names).union(*(_names(one) for one in inner))


def _withdraw(decl: ProgramDecl) -> None:
    from pyebpf.session import withdraw

    _parts.pop(decl, None)
    withdraw(decl)
