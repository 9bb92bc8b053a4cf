"""Tracebacks that end where the user's program called pyebpf.

What is wrong is in the program, and the exception says where; frames of the compiler and the loader in between tell a user
nothing. Notebooks have a way of their own for it (``_render_traceback_``).
"""

from __future__ import annotations

import os
import sys
from types import TracebackType

from pyebpf.diagnostics import InternalError, PyebpfError
from pyebpf.hints import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Final


_OURS: Final = os.path.dirname(__file__) + os.sep
_BETWEEN: Final = ("contextlib.py", "functools.py")
"""Modules whose decorators are around functions of pyebpf."""


def install() -> None:
    """Shorten the tracebacks of pyebpf's exceptions that nobody handles, in front of whatever shows them. Those of mistakes
    in pyebpf itself stay whole."""
    shown = sys.excepthook

    def hook(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        if isinstance(error, PyebpfError) and not isinstance(error, InternalError):
            shorten(error)
            trace = error.__traceback__
        shown(kind, error, trace)

    sys.excepthook = hook


def shorten(error: BaseException) -> None:
    """Cut the traceback of ``error`` behind the last frame that is not of pyebpf, if there is one."""
    last, entry = None, error.__traceback__
    while entry is not None:
        file = entry.tb_frame.f_code.co_filename
        if not file.startswith(_OURS) and os.path.basename(file) not in _BETWEEN:
            last = entry
        entry = entry.tb_next
    if last is not None:
        last.tb_next = None
