"""The verifier's kinds of values in the words of a program's author."""

from __future__ import annotations

from pyebpf.hints import TYPE_CHECKING
from pyebpf.runtime.rejection.state import Value

if TYPE_CHECKING:
    from typing import Final


_KINDS: Final = {
    "scalar": "a number",
    "map_value": "a value of a map",
    "mem": "a reference to memory",
    "ringbuf_mem": "a reserved record",
    "pkt": "a place in the packet",
    "pkt_end": "the end of the packet",
    "pkt_meta": "a place before the packet",
    "ctx": "the context",
    "fp": "memory of this function",
    "map_ptr": "a map",
    "sock": "a socket",
    "sock_common": "a socket",
    "tcp_sock": "a socket",
    "xdp_sock": "a socket",
    "func": "a function",
    "rdonly_buf": "memory that can only be read",
    "rdwr_buf": "memory",
    "dynptr_ptr": "a dynptr",
    "flow_keys": "the flow keys",
}
_WHOLE: Final = ((0, (1 << 64) - 1), (-(1 << 63), (1 << 63) - 1))


def kind_words(kind: str) -> str:
    """A word of the kernel such as ``map_value_or_null`` in ours."""
    base = kind.replace("_or_null", "").replace("or_null_", "").strip()
    known = _KINDS.get(base)
    if known is None:
        object_of = base.removeprefix("trusted_").removeprefix("rcu_").removeprefix("untrusted_")
        known = f"a kernel object ({object_of.removeprefix('ptr_').strip() or kind})"
    return known


def value_words(value: Value | None, kind: str = "") -> str:
    """What a value is. ``kind``: what the kernel calls it, where the value is not known."""
    if value is None:
        return kind_words(kind) if kind else "a value"
    words = kind_words(kind or value.kind)
    title = value.facts.get("map", "")
    if title and words in ("a value of a map", "a map"):
        return f"module variables (`{title}`)" if "." in title else words.replace("a map", f"map `{title}`")
    return number_words(value, words) if value.is_number and not kind else words


def number_words(value: Value | None, anything: str = "any number") -> str:
    """A number by its range; ``anything``: what to say where it has none."""
    within = range_words(value)
    if not within:
        return anything
    return f"a number in {within}" if "…" in within else f"the number {within}"


def range_words(value: Value | None) -> str:
    """The range of a number: ``0 … 255``; empty where it may be anything."""
    if value is None:
        return ""
    unsigned, signed = value.unsigned, value.signed
    if unsigned not in _WHOLE and (unsigned[1] - unsigned[0] <= signed[1] - signed[0]):
        least, most = unsigned
    elif signed not in _WHOLE:
        least, most = signed
    else:
        return ""
    return str(least) if least == most else f"{least} … {most}"
