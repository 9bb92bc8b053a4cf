"""Names of types as CO-RE compares them."""

from __future__ import annotations


def essential_name(name: str) -> str:
    """``name`` without its flavor: ``task_struct___v2`` and ``task_struct`` mean the same kernel type."""
    at = name.rfind("___")
    while at > 0:
        if name[at - 1] != "_" and at + 3 < len(name) and name[at + 3] != "_":
            return name[:at]
        at = name.rfind("___", 0, at + 2)
    return name
