"""All rows, in the order in which they are tried, the more telling ones first."""

from __future__ import annotations

import re
from collections.abc import Callable

from pyebpf.hints import TYPE_CHECKING
from pyebpf.runtime.rejection import rules_calls, rules_memory, rules_structure
from pyebpf.runtime.rejection.rules import Rule

if TYPE_CHECKING:
    from typing import Final


RULES: Final = (*rules_calls.HELD, *rules_memory.ROWS, *rules_calls.ROWS, *rules_structure.ROWS)


def find(
    reason: str, fits: Callable[[Rule, re.Match[str]], bool] = lambda rule, match: True
) -> tuple[Rule, re.Match[str]] | None:
    """The first row that matches a message, and how. ``fits``: whether a row suits what is known besides."""
    for rule in RULES:
        for pattern in rule.patterns:
            match = pattern.search(reason)
            if match is not None and fits(rule, match):
                return rule, match
    return None
