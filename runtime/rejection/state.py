"""What the verifier knew of registers and stack slots, from the text of its log.

The notation changed over the years; all of these are read::

    R1_w=inv(id=0,umax_value=255,var_off=(0x0; 0xff))     5.15
    R1_w=scalar(umax=255,var_off=(0x0; 0xff))             6.1
    R1=scalar(smin=smin32=0,smax=umax=255)                6.8 and later
    R0_w=map_value_or_null(id=1,off=0,ks=4,vs=8,imm=0)    fp-8_w=mmmm????   R3=fp-16   R0=P7   R2=invP7
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from pyebpf.hints import TYPE_CHECKING
from pyebpf.records import dataclass, field

if TYPE_CHECKING:
    from typing import Final


_PLACE: Final = re.compile(r"(?:^|(?<=[\s:]))(R\d+|fp-\d+)(?:_[rwD]+)?=")
_NUMBER: Final = re.compile(r"-?(?:0x[0-9a-f]+|\d+)")
_KNOWN: Final = re.compile(r"(?:inv)?P?(-?(?:0x[0-9a-f]+|\d+))")
_FRAME: Final = re.compile(r"fp(-?\d+)?(?:\((.*)\))?")
_KIND: Final = re.compile(r"P?([a-zA-Z_][\w. ]*?)\s*(?:\((.*)\))?")
_OLD_BOUNDS: Final = {
    "smin_value": "smin",
    "smax_value": "smax",
    "umin_value": "umin",
    "umax_value": "umax",
}
_SIGNED: Final = (-(1 << 63), (1 << 63) - 1)
_UNSIGNED: Final = (0, (1 << 64) - 1)


@dataclass(frozen=True, slots=True)
class Value:
    """``kind``: the kernel's word, such as ``map_value``, ``pkt`` or ``scalar``; ``facts``: what stood in parentheses.

    ``text``: the whole, as the kernel wrote it.
    """

    kind: str
    text: str = ""
    facts: Mapping[str, str] = field(default_factory=dict)

    @property
    def nullable(self) -> bool:
        """Whether it may be null."""
        return "or_null" in self.kind

    @property
    def is_number(self) -> bool:
        """Whether it is no pointer."""
        return self.kind == "scalar"

    def number(self, fact: str) -> int | None:
        """A fact that is a number, if it is there."""
        found = _NUMBER.fullmatch(self.facts.get(fact, ""))
        return integer(found[0]) if found else None

    @property
    def signed(self) -> tuple[int, int]:
        """The bounds as a signed number; those that are not told are the widest."""
        return self._bounds("smin", "smax", _SIGNED)

    @property
    def unsigned(self) -> tuple[int, int]:
        """The bounds as an unsigned number."""
        return self._bounds("umin", "umax", _UNSIGNED)

    def _bounds(self, low: str, high: str, widest: tuple[int, int]) -> tuple[int, int]:
        least, most = self.number(low), self.number(high)
        return widest[0] if least is None else least, widest[1] if most is None else most


def integer(text: str) -> int:
    """A number as the kernel writes it: decimal, with or without zeros in front, or hexadecimal."""
    return int(text, 16 if "x" in text else 10)


def states(text: str) -> dict[str, Value]:
    """Every register (``R1``) and slot (``fp-8``) that ``text`` describes; what is not understood is left out."""
    found: dict[str, Value] = {}
    for match in _PLACE.finditer(text):
        value = _value(_extent(text, match.end()))
        if value is not None:
            found[match[1]] = value
    return found


def _extent(text: str, start: int) -> str:
    """The value that begins at ``start``: up to a space outside parentheses."""
    depth = 0
    for at in range(start, len(text)):
        match text[at]:
            case "(":
                depth += 1
            case ")":
                depth -= 1
            case " " | "\t" | "\n" if depth <= 0:
                return text[start:at]
            case _:
                pass
    return text[start:]


def _value(text: str) -> Value | None:
    if not text:
        return None
    known = _KNOWN.fullmatch(text)
    if known:
        number = str(integer(known[1]))
        return Value("scalar", text, dict.fromkeys(("smin", "smax", "umin", "umax"), number))
    frame = _FRAME.fullmatch(text)
    if frame:
        facts = dict(_facts(frame[2] or ""))
        return Value("fp", text, {"off": frame[1], **facts} if frame[1] else facts)
    named = _KIND.fullmatch(text)
    if named is None:
        return Value("bytes", text)
    kind = "scalar" if named[1] in ("inv", "scalar", "unknown") else named[1]
    return Value(kind, text, dict(_facts(named[2] or "")))


def _facts(text: str) -> Iterator[tuple[str, str]]:
    """``smin=smin32=0,var_off=(0x0; 0xf)`` and so on. In ``a=b=0`` both are 0."""
    depth = start = 0
    for at in range(len(text) + 1):
        if at < len(text) and (text[at] != "," or depth):
            depth += {"(": 1, ")": -1}.get(text[at], 0)
            continue
        *names, value = text[start:at].split("=")
        start = at + 1
        for name in names:
            yield _OLD_BOUNDS.get(name, name), value
