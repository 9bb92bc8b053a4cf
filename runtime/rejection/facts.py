"""What the texts of the table are filled in with: parts of the message, and what is known at the refused instruction."""

from __future__ import annotations

import re
from collections.abc import Mapping

from pyebpf.hints import TYPE_CHECKING
from pyebpf.records import dataclass
from pyebpf.runtime.rejection.parse import Step
from pyebpf.runtime.rejection.source import Source
from pyebpf.runtime.rejection.state import Value, integer
from pyebpf.runtime.rejection.words import kind_words, number_words, range_words, value_words

if TYPE_CHECKING:
    from typing import Final


_HELPER: Final = re.compile(r"call (?:bpf_)?(\w+)#(-?\d+)")
_LOCAL_CALL: Final = re.compile(r"call pc([+-]\d+)")
_STORE: Final = re.compile(r"(?:lock )?\*\(")
_RESULT: Final = re.compile(r"smin=(-?\d+) smax=(-?\d+)|value \((-?0x[0-9a-f]+|-?\d+)")
_LAST_HELPER: Final = 10_000
"""Numbers of helpers are below; those of kernel functions are ids of types, which are higher."""
_MEMORY: Final = frozenset({"fp", "pkt", "map_value", "mem", "pkt_meta"})
_KINDS: Final = {"XDP": "XDP", "SCHED_CLS": "tc", "SK_SKB": "sk_skb"}


@dataclass(frozen=True, slots=True)
class Known:
    """``step``: the refused instruction; ``value``: that which the message is about; ``index``: the number that moved
    it; ``share``: what is said of the line that was walked most often."""

    source: Source
    step: Step | None = None
    value: Value | None = None
    index: Value | None = None
    share: str = ""


class Facts(dict[str, str]):
    """Texts by name; one that is missing reads as ``?``."""

    def __missing__(self, key: str) -> str:
        return "?"


def facts(match: re.Match[str], known: Known) -> Facts:
    """Everything that a row's texts may name."""
    found = groups(match)
    found["value"] = value_words(known.value, found.get("kind", ""))
    found["range"] = number_words(known.value)
    found["index"] = number_words(known.index)
    found["program_kind"] = _KINDS.get(known.source.kind, known.source.kind.lower().replace("_", " "))
    found["helper"] = callee(known.step, known.source, found.get("function", ""))
    found["done"] = "written" if known.step is not None and _STORE.match(known.step.text) else "read"
    found["share"] = known.share
    found["missing"] = _missing(known)
    found["result"] = _result(match.string, known.value)
    found["expected_words"] = _expected(found.get("expected", ""))
    for name in ("size", "limit"):
        if found.get(name, "").isdecimal():
            count = int(found[name])
            found[f"{name}_bytes"] = f"{count} byte" if count == 1 else f"{count} bytes"
    if "off" in found and found.get("size", "").isdecimal():
        found["last"] = str(int(found["off"]) + int(found["size"]) - 1)
    if found.get("limit", "").isdecimal():
        found["limit_last"] = str(int(found["limit"]) - 1)
    return found


def groups(match: re.Match[str]) -> Facts:
    """The named parts of a message that are there."""
    named: Mapping[str, str | None] = match.groupdict()
    return Facts({name: text for name, text in named.items() if text is not None})


def callee(step: Step | None, source: Source, named: str = "") -> str:
    """What an instruction calls, as the user writes it. ``named``: how the message calls it."""
    text = "" if step is None else step.text
    helper, local = _HELPER.match(text), _LOCAL_CALL.match(text)
    if helper and helper[1] != "unknown":
        is_helper = 0 < int(helper[2]) < _LAST_HELPER
        return f"`bpf.{helper[1]}`" if is_helper else f"`{text[len('call ') :].partition('#')[0]}`"
    if local and step is not None:
        return f"`{source.function(step.slot + 1 + int(local[1]))}`"
    return f"`{named}`" if named else "this call"


def _missing(known: Known) -> str:
    """What the kernel lacks that the refused instruction asks for."""
    told = dict(known.source.missing).get(known.step.slot) if known.step is not None else None
    return told or "the program uses something of the kernel that this kernel does not have"


def _result(message: str, value: Value | None) -> str:
    told = _RESULT.search(message)
    if told and told[1]:
        return told[1] if told[1] == told[2] else f"{told[1]} … {told[2]}"
    if told and told[3]:
        return str(integer(told[3]))
    return range_words(value) or "any number"


def _expected(kinds: str) -> str:
    names = [name.strip() for name in kinds.split(",") if name.strip()]
    if len(_MEMORY.intersection(names)) > 1:
        return "memory"
    return " or ".join(dict.fromkeys(kind_words(name) for name in names)) or "something else"
