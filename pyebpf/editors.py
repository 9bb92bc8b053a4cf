"""Diagnostics as JSON, for editors and other programs.

One object per diagnostic:

``file``
    the path, absolute where there is such a file; what Python calls the source otherwise
``range``
    ``{"start": {"line", "column"}, "end": {"line", "column"}}``: counted from 1, in characters; the end is the first place
    after the text. Where there is no source line, all are 0 and ``instruction`` is the number of the instruction
``code``, ``message``, ``label``
    as in the text for people; ``label`` is what stands beside the carets and may be empty
``labels``
    other places that take part: objects with ``file``, ``range`` and ``text``
``notes``, ``help``
    lists of texts: why, and what to write instead
"""

from __future__ import annotations

import json
import os

from pyebpf.diagnostics import Diagnostic, Span
from pyebpf.hints import Any


def to_json(diagnostic: Diagnostic) -> str:
    """The object of a diagnostic, on one line."""
    return json.dumps(plain(diagnostic), ensure_ascii=False)


def plain(diagnostic: Diagnostic) -> dict[str, Any]:
    """The object of a diagnostic."""
    return {
        **_place(diagnostic.span),
        "code": diagnostic.code.name,
        "message": diagnostic.message,
        "label": diagnostic.label,
        "labels": [{**_place(label.span), "text": label.text} for label in diagnostic.labels],
        "notes": list(diagnostic.notes),
        "help": list(diagnostic.help),
    }


def _place(span: Span) -> dict[str, Any]:
    if span.column == 0:
        nowhere = {"line": 0, "column": 0}
        return {"file": "", "range": {"start": nowhere, "end": nowhere}, "instruction": span.line}
    path = os.path.abspath(span.file)
    return {
        "file": path if os.path.exists(path) else span.file,
        "range": {
            "start": {"line": span.line, "column": span.column},
            "end": {"line": span.end_line, "column": span.end_column},
        },
    }
