"""What Python says of a mutant that pyebpf refuses: the undecorated function runs in CPython, with stand-ins.

Where Python fails as well, the refusal is right. Where the line that is blamed runs without an error, the refusal may be
false: then ``RULES`` says which rule of docs/language.md stands behind the code, or nothing does.
"""

from __future__ import annotations

import enum
import sys
import types
from collections.abc import Collection, Sequence
from typing import Any

import pyebpf
from tests.differential.cpython.contexts import SkBuff, Xdp
from tests.differential.cpython.maps import Unpredictable
from tests.differential.cpython.run import PythonModule
from tests.differential.limit import Slow, time_limit

SECONDS = 1


class Meaning(enum.Enum):
    """What Python makes of a refused program."""

    FAILS = "fails in Python too"
    UNREACHED = "Python does not come to the line that is blamed"
    UNKNOWN = "the stand-ins do not know what it uses"
    RULE = "runs in Python; a rule of the language forbids it"
    FALSE = "runs in Python, and no rule forbids it"


RULES = {
    "E0101": "Python's object model does not exist in programs",
    "E0103": "generators and coroutines",
    "E0206": "constants that do not fit their place",
    "E0302": "floating point",
    "E0303": "`u64` meets something that may be negative",
    "E0304": "shift counts in 0…63",
    "E0305": "one type for a variable",
    "E0306": "`/` and `**`",
    "E0307": "what always raises is a mistake",
    "E0309": "annotations say how integers are stored",
    "E0310": "identity is for None, structs are not compared",
    "E0311": "what may be None is tested, whatever a run finds",
    "E0401": "loops without a bound that can be seen",
    "E0402": "loops that are too long",
    "E0406": "the exceptions of programs",
    "E0408": "records are reserved in `with`",
    "E0501": "what always raises is a mistake",
    "E0502": "structs have the fields that are declared",
    "E0503": "lifetimes of structs and records",
    "E0504": "references that cannot be returned",
    "E0506": "sizes that are constant",
    "E0508": "updates that cannot be atomic",
    "E0509": "structs are built of their fields, unions of one",
    "E0510": "memory of two kinds",
    "E0603": "maps have the keys that are declared",
    "E0604": "maps have the values that are declared",
    "E0701": "the fields of the hook's context",
    "E0702": "the fields that the hook may read or write",
    "E0703": "the methods of the hook's context",
    "E0704": "views die when the packet changes",
    "E0705": "socket filters do not look into the packet",
    "E0706": "what always raises is a mistake",
    "E0802": "helpers of the hook",
    "E0804": "services for GPL-compatible programs",
    "E0901": "recursion",
    "E0902": "five arguments",
    "E0906": "the form of callbacks; functions that are never called",
    "E0907": "tail calls end a program",
    "E0908": "exceptions do not leave global functions",
    "E0909": "the parameters of global functions",
    "E0910": "programs do not call programs",
    "E0912": "a number or None is no result",
    "E1001": "512 bytes of stack",
}
"""Codes of refusals of what Python would run, with the rule of the language."""


def meaning(source: str, blamed: Collection[int], codes: Collection[str], frames: Sequence[bytes]) -> Meaning:
    """What Python makes of ``source``. ``blamed``: lines; ``codes``: of the diagnostics."""
    ran: set[int] = set()
    xdp = "@bpf.xdp" in source
    try:
        with time_limit(SECONDS):
            _run(source, frames, xdp, ran)
    except Unpredictable:
        return Meaning.UNKNOWN
    except AttributeError as error:
        known = isinstance(error.obj, types.ModuleType) and hasattr(pyebpf, error.name or "")
        return Meaning.UNKNOWN if known else Meaning.FAILS
    except (Slow, Exception):
        return Meaning.FAILS
    if not ran & set(blamed):
        return Meaning.UNREACHED
    return Meaning.RULE if all(code in RULES for code in codes) else Meaning.FALSE


def _run(source: str, frames: Sequence[bytes], xdp: bool, ran: set[int]) -> None:
    code = compile(source, "<mutant>", "exec")
    module = PythonModule(code, "undecorated")

    def trace(frame: types.FrameType, event: str, argument: Any) -> Any:
        if frame.f_code.co_filename != "<mutant>":
            return None
        ran.add(frame.f_lineno)
        return trace

    for packet in frames:
        sys.settrace(trace)
        try:
            module.run(Xdp(packet) if xdp else SkBuff(packet))
        finally:
            sys.settrace(None)
