"""Writes a program as text: its declarations as they are needed, its statements, the variables of each block.

Everything that the pieces ask of it is valid by the rules of docs/language.md: variables are known in the block where
they were assigned, indexes are kept inside their arrays, what is stored in a narrow place is converted. Integers
here are never negative, and each is known with the greatest value that it can have, so that ``u64`` never meets
something that may be negative.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

HEADER = """\
from __future__ import annotations

import enum
import socket

import pyebpf as bpf
from pyebpf import be16, be32, be64, i8, i16, i32, i64, le16, le32, u8, u16, u32, u64

bpf.license("GPL")
"""

STRUCTS = {
    "Ethernet": "@bpf.struct\nclass Ethernet:\n    target: bytes = bpf.chars(6)\n    source: bytes = bpf.chars(6)\n"
    "    kind: be16",
    "Ipv4": "@bpf.struct\nclass Ipv4:\n    version_words: u8\n    service: u8\n    length: be16\n    number: be16\n"
    "    fragment: be16\n    ttl: u8\n    protocol: u8\n    checksum: be16\n    source: be32\n    target: be32",
    "Ports": "@bpf.struct\nclass Ports:\n    source: be16\n    target: be16",
    "Flow": "@bpf.struct\nclass Flow:\n    source: be32\n    target: be32\n    ports: Ports\n    protocol: u8",
    "Stats": "@bpf.struct\nclass Stats:\n    packets: u64\n    octets: u64\n    least: u32\n    greatest: u32\n"
    "    sizes: list[int] = bpf.array(u32, 8)",
    "Option": "@bpf.struct(packed=True)\nclass Option:\n    kind: u8\n    length: u8\n    value: be16",
    "Event": "@bpf.struct\nclass Event:\n    number: u64\n    length: u32\n    verdict: u16\n    flow: Flow\n"
    "    start: bytes = bpf.chars(8)",
    "Compact": "@bpf.struct(packed=True)\nclass Compact:\n    kind: u8\n    number: u64\n    port: be16\n"
    "    sizes: list[int] = bpf.array(u16, 3)",
    "Word": "@bpf.union\nclass Word:\n    whole: u32\n    halves: list[int] = bpf.array(u16, 2)\n"
    "    parts: list[int] = bpf.array(u8, 4)",
    "Bucket": "@bpf.struct\nclass Bucket:\n    tokens: u64\n    time: u64",
    "Network": "@bpf.struct\nclass Network:\n    prefixlen: u32\n    address: be32",
    "State": "@bpf.struct\nclass State:\n    found: u32\n    last: u32\n    total: u64",
}
NEEDS = {"Flow": ("Ports",), "Event": ("Ports", "Flow")}
"""The structs that others are made of."""


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of program: how it is decorated, what its context can do, where the network header is in a test run."""

    decorator: str
    context: str
    annotation: str
    verdicts: tuple[str, ...]
    base: int
    views: bool = True
    copies: bool = True
    writes: bool = False


XDP = Kind(
    "xdp",
    "ctx",
    "bpf.Xdp",
    ("bpf.XDP_PASS", "bpf.XDP_DROP", "bpf.XDP_TX", "bpf.XDP_ABORTED"),
    14,
    copies=False,
)
TC = Kind(
    "tc", "skb", "bpf.SkBuff", ("bpf.TC_ACT_OK", "bpf.TC_ACT_SHOT", "bpf.TC_ACT_UNSPEC"), 14, writes=True
)
FILTER = Kind("socket_filter", "skb", "bpf.SkBuff", ("0", "bpf.KEEP", "64", "len(skb)"), 0, views=False)
VERDICT = Kind("sk_skb_verdict", "skb", "bpf.SkBuff", ("bpf.SK_PASS", "bpf.SK_DROP"), 0)


class Writer:
    """A program that grows."""

    def __init__(self, rng: random.Random, kind: Kind) -> None:
        self.rng = rng
        self.kind = kind
        self.ctx = kind.context
        self.base = kind.base
        self.structs: dict[str, str] = {}
        self.globals: dict[str, str] = {}
        self.functions: list[str] = []
        self.lines: list[str] = []
        self.ints: dict[str, int] = {}
        self.names: set[str] = set()
        self.depth = 1
        self.rounds = 1  # of the loops around
        self.in_function = False
        self.room = 300  # bytes of the stack that local arrays and structs may take

    # ------------------------------------------------------------ text

    def emit(self, *lines: str) -> None:
        """Add statements to the block."""
        self.lines += ["    " * self.depth + line for line in lines]

    @contextmanager
    def block(self, head: str, *, rounds: int = 1) -> Iterator[None]:
        """A compound statement; what is assigned first in it is known in it only."""
        self.emit(head)
        known, before = dict(self.ints), len(self.lines)
        self.depth += 1
        self.rounds *= rounds
        yield
        if len(self.lines) == before:
            self.emit("pass")
        self.depth -= 1
        self.rounds //= rounds
        self.ints = known

    @contextmanager
    def function(self, head: str, parameters: dict[str, int], *decorators: str) -> Iterator[None]:
        """A function of the module: its body has its own variables, and no context."""
        outside = (self.lines, self.ints, self.depth, self.rounds)
        self.lines, self.ints, self.depth, self.in_function = [*decorators, head], dict(parameters), 1, True
        yield
        self.functions.append("\n".join(self.lines))
        self.lines, self.ints, self.depth, self.rounds = outside
        self.in_function = False

    def source(self) -> str:
        """The whole module."""
        on_error = self.rng.choice(("", f"(on_error={self.rng.choice(self.kind.verdicts[:2])})"))
        head = (
            f"@bpf.{self.kind.decorator}{on_error}\ndef program({self.ctx}: {self.kind.annotation}) -> int:"
        )
        parts = [HEADER, *self.structs.values(), "\n".join(self.globals.values()), *self.functions]
        return "\n\n\n".join([*parts, "\n".join([head, *self.lines])]) + "\n"

    # ------------------------------------------------------------ choices

    def chance(self, percent: int) -> bool:
        """True that often."""
        return self.rng.randrange(100) < percent

    def pick(self, *of: str) -> str:
        """One of some texts."""
        return self.rng.choice(of)

    def fresh(self, *names: str) -> str:
        """A name that is not taken yet."""
        name = self.rng.choice(names)
        number = 2
        chosen = name
        while chosen in self.names:
            chosen = f"{name}_{number}"
            number += 1
        self.names.add(chosen)
        return chosen

    # ------------------------------------------------------------ declarations

    def struct(self, name: str) -> str:
        """A struct of the list, declared."""
        for needed in NEEDS.get(name, ()):
            self.struct(needed)
        self.structs.setdefault(name, STRUCTS[name])
        return name

    def declare(self, name: str, value: str) -> str:
        """A map, a variable or a constant of the module; the same name means the same thing."""
        self.names.add(name)
        self.globals.setdefault(name, f"{name} = {value}")
        return name

    # ------------------------------------------------------------ values

    def read(self, of: str, offset: str | int) -> str:
        """An integer of the packet. Offsets in the program count from the network header's place."""
        ways = [name for name, able in (("read", self.kind.views), ("load", self.kind.copies)) if able]
        return f"{self.ctx}.{self.rng.choice(ways)}({of}, {offset})"

    def assign(self, name: str, text: str, greatest: int, *, of: str = "") -> str:
        """A new variable, annotated or not."""
        self.emit(f"{name}: {of} = {text}" if of else f"{name} = {text}")
        self.ints[name] = greatest
        return name

    def number(self, below: int | None = None) -> tuple[str, int]:
        """An integer and the greatest value that it can have: a variable, the length, or a byte of the packet."""
        known = [(name, hi) for name, hi in self.ints.items() if below is None or hi < below]
        if known and self.chance(70):
            return self.rng.choice(known)
        if below is not None and below <= 256:
            return str(self.rng.randrange(below)), below - 1
        if self.in_function and known:
            return self.rng.choice(known)
        if self.in_function or self.chance(30):
            value = self.rng.randrange(min(below or 2000, 2000))
            return str(value), value
        if below is None and self.chance(50):
            return f"len({self.ctx})", 0xFFFF
        return self.read("u8", self.rng.randrange(14)), 255

    def index(self, length: int) -> str:
        """An integer in 0 … length-1, kept there in one of the ways that people write."""
        text, hi = self.number()
        if hi < length:
            return text
        ways = [f"{text} % {length}", f"min({text}, {length - 1})", f"({text} if {text} < {length} else 0)"]
        if length & (length - 1) == 0:
            ways += [f"{text} & {length - 1}"] * 3
        return self.rng.choice(ways)

    def condition(self) -> str:
        """Something that may hold or not."""
        text, hi = self.number()
        other = self.rng.choice((0, 1, 5, 17, 64, 80, 128, 443, 1000, hi // 2))
        ways = [
            f"{text} {self.pick('<', '<=', '>', '>=', '==', '!=')} {other}",
            f"{text} & {1 << self.rng.randrange(8)}",
            f"{other} <= {text} < {other + 100}",
            f"{text} in ({other}, {other + 1}, 53)",
            f"not {text} % {self.rng.choice((2, 3, 7))}",
        ]
        found = self.rng.choice(ways)
        if self.chance(25):
            more, _ = self.number()
            found = (
                f"{found} {self.pick('and', 'or')} {more} {self.pick('>', '!=')} {self.rng.randrange(300)}"
            )
        return found

    def verdict(self) -> str:
        """What the program may return here."""
        return self.rng.choice(self.kind.verdicts)

    def take(self, octets: int) -> bool:
        """Whether there is room on the stack; takes it."""
        if self.room < octets:
            return False
        self.room -= octets
        return True

    def trips(self, most: int = 300) -> int:
        """How many rounds a loop makes here: long loops outside, short ones inside."""
        limit = max(2, min(most, 2000 // self.rounds))
        return self.rng.choice(
            [n for n in (1, 2, 3, 4, 6, 8, 10, 16, 20, 32, 40, 64, 100, 128, 200, 256, 300) if n <= limit]
        )
