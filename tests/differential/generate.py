"""Random programs as Python source, valid by the rules of the language and written without the compiler's help.

Expressions are made by kind: ``i`` any 64-bit signed, ``n`` signed but never negative, ``u`` unsigned 64-bit. Rules that
depend on finer ranges are kept out of the way by conversions (``u32(...)``) and masks. Every program leaves what
it computed in maps, a global, the packet and its verdict.
"""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import dataclass, field

INTS = ("u8", "u16", "u32", "u64", "i8", "i16", "i32", "i64", "be16", "be32")
KIND_OF = {t: "u" if t == "u64" else "n" if t[0] in "ub" else "i" for t in INTS}
LOCAL_TYPES = ("u8", "u16", "u32", "u64", "i8", "i16", "i32", "i64")

HEADER = """\
from __future__ import annotations

import pyebpf as bpf
from pyebpf import be16, be32, i8, i16, i32, i64, u8, u16, u32, u64

bpf.license("GPL")


@bpf.struct
class Inner:
    p: u16
    q: i32


@bpf.struct
class Record:
    a: u8
    b: i16
    c: u32
    d: u64
    e: be16
    f: be32
    g: i64
    h: list[int] = bpf.array(u16, 4)
    name: bytes = bpf.chars(8)
    inner: Inner
    list: list[int] = bpf.array(i32, 3)


table = bpf.ArrayMap[u32, u64](max_entries=16)
small = bpf.ArrayMap[u32, u16](max_entries=8)
words = bpf.HashMap[u16, u32](max_entries=12)
counts = bpf.HashMap[u32, u64](max_entries=64, default={default})
records = bpf.HashMap[u32, Record](max_entries=8)
pairs = bpf.HashMap[Inner, i64](max_entries=8)
queue = bpf.Queue[u32](max_entries=4)
stack = bpf.Stack[u64](max_entries=4)
total = bpf.Global[u64]({total})
narrow = bpf.Global[i32]({narrow})
LIMIT = {limit}
"""


@dataclass
class Scope:
    """What a position in a function may use: variables by kind, whether it is in a loop, how much repetition is left."""

    ints: dict[str, str] = field(default_factory=dict)  # name -> type
    arrays: dict[str, tuple[str, int]] = field(default_factory=dict)
    structs: list[str] = field(default_factory=list)
    fixed: set[str] = field(default_factory=set)  # may be read, not assigned
    in_loop: bool = False
    budget: int = 12  # iterations that further nested loops may multiply to
    packet: bool = True
    raises: bool = True

    def inner(self, **changes: object) -> Scope:
        copy = Scope(
            dict(self.ints),
            dict(self.arrays),
            list(self.structs),
            set(self.fixed),
            self.in_loop,
            self.budget,
            self.packet,
            self.raises,
        )
        for name, value in changes.items():
            setattr(copy, name, value)
        return copy


class Generator:
    """One program from one seed; ``features`` counts what it contains."""

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)
        self.lines: list[str] = []
        self.features: Counter[str] = Counter()
        self.names = 0
        self.functions: list[tuple[str, list[str], str]] = []
        self.kind = self.rng.choice(("xdp", "xdp", "tc", "socket_filter"))
        self.statements = 0

    # ------------------------------------------------------------ pieces

    def pick(self, *choices: object) -> object:
        return self.rng.choice(choices)

    def chance(self, percent: int) -> bool:
        return self.rng.randrange(100) < percent

    def fresh(self, stem: str) -> str:
        self.names += 1
        return f"{stem}{self.names}"

    def constant(self, kind: str) -> str:
        r = self.rng
        value = r.choice(
            (
                0,
                1,
                2,
                3,
                5,
                7,
                8,
                15,
                16,
                31,
                63,
                64,
                100,
                127,
                128,
                255,
                256,
                1000,
                32767,
                65535,
                65536,
                0x7FFFFFFF,
                0x80000000,
                0xFFFFFFFF,
                0x123456789,
                r.getrandbits(r.choice((4, 8, 16, 31))),
            )
        )
        if kind == "i" and self.chance(40):
            return f"(-{value})"
        return str(value)

    def index(self, scope: Scope, length: int, depth: int) -> str:
        """An index into something of ``length``: usually inside."""
        roll = self.rng.randrange(100)
        if roll < 40 or not scope.raises:
            if not scope.raises or length & (length - 1) == 0:
                mask = 1
                while mask * 2 <= length:
                    mask *= 2
                return f"({self.expr('n', scope, depth - 1)} & {mask - 1})"
            return str(self.rng.randrange(length))
        if roll < 70:
            return str(self.rng.randrange(-length, length))
        if roll < 85:
            return f"({self.expr('n', scope, depth - 1)} & {2 * length - 1})"
        return self.expr("i", scope, depth - 1)

    def leaf(self, kind: str, scope: Scope) -> str:
        names = [
            n for n, t in scope.ints.items() if KIND_OF[t] == kind or (kind == "i" and KIND_OF[t] == "n")
        ]
        if names and self.chance(75):
            return self.rng.choice(names)
        if kind == "u":
            wide = [n for n, t in scope.ints.items() if t == "u64"]
            if wide and self.chance(60):
                return self.rng.choice(wide)
            return f"u64({self.constant('n')})"
        return self.constant(kind)

    def packet_read(self, scope: Scope) -> tuple[str, str]:
        """An expression that reads the packet, and its kind."""
        of = self.rng.choice(("u8", "u8", "u16", "u32", "be16", "be32", "i8", "i32"))
        offset = str(self.rng.choice((0, 1, 2, 4, 6, 12, 13, 14, 20, 23, 30, 34, 40)))
        if scope.ints and self.chance(25):
            offset = f"({self.expr('n', scope, 1)} & {self.rng.choice((7, 15, 31, 63))})"
        method = "read" if self.kind == "xdp" or (self.kind == "tc" and self.chance(50)) else "load"
        self.features[f"packet {method}"] += 1
        return f"ctx.{method}({of}, {offset})", KIND_OF[of]

    def expr(self, kind: str, scope: Scope, depth: int) -> str:
        """The text of an expression of ``kind``."""
        if depth <= 0 or self.chance(15):
            return self.leaf(kind, scope)
        options = getattr(self, f"_{kind}_options")
        return str(self.rng.choice(options)(self, scope, depth - 1))

    def any(self, scope: Scope, depth: int) -> str:
        return self.expr(self.rng.choice("inu"), scope, depth)

    def convert(self, to: str, scope: Scope, depth: int) -> str:
        self.features["conversion"] += 1
        return f"{to}({self.any(scope, depth)})"

    def divide(self, kind: str, scope: Scope, depth: int) -> str:
        op = self.rng.choice(("//", "%"))
        self.features["division"] += 1
        left = self.expr(kind, scope, depth)
        if self.chance(60) or not scope.raises:
            divisor = str(self.rng.choice((1, 2, 3, 4, 7, 8, 10, 16, 255, 1000)))
            if kind == "i" and self.chance(30):
                divisor = f"(-{divisor})"
        else:
            names = [n for n, t in scope.ints.items() if KIND_OF[t] == kind]
            divisor = self.rng.choice(names) if names else "3"
        return f"({left} {op} {divisor})"

    def shift(self, kind: str, scope: Scope, depth: int) -> str:
        self.features["shift"] += 1
        count = (
            str(self.rng.choice((0, 1, 3, 7, 8, 16, 31, 32, 48, 63)))
            if self.chance(60)
            else f"({self.expr('n', scope, depth)} & {self.rng.choice((7, 15, 31, 63))})"
        )
        if self.chance(50):
            return f"({self.expr(kind, scope, depth)} >> {count})"
        if kind == "u":
            return f"({self.expr('u', scope, depth)} << {count})"
        return (
            f"i64({self.expr(kind, scope, depth)} << {count})"
            if kind == "i"
            else f"u32({self.expr(kind, scope, depth)} << {count})"
        )

    def conditional(self, kind: str, scope: Scope, depth: int) -> str:
        self.features["conditional expression"] += 1
        return f"({self.expr(kind, scope, depth)} if {self.condition(scope, depth)} else {self.expr(kind, scope, depth)})"

    def element(self, kind: str, scope: Scope, depth: int) -> str:
        fitting = [
            (n, t, k)
            for n, (t, k) in scope.arrays.items()
            if KIND_OF[t] == kind or (kind == "i" and KIND_OF[t] == "n")
        ]
        if not fitting:
            return self.expr(kind, scope, depth)
        name, _, length = self.rng.choice(fitting)
        self.features["array element"] += 1
        return f"{name}[{self.index(scope, length, depth)}]"

    def field(self, kind: str, scope: Scope, depth: int) -> str:
        if not scope.structs:
            return self.expr(kind, scope, depth)
        name = self.rng.choice(scope.structs)
        self.features["struct field"] += 1
        if kind == "u":
            return f"{name}.d"
        if kind == "n":
            return self.rng.choice(
                (
                    f"{name}.a",
                    f"{name}.c",
                    f"{name}.e",
                    f"{name}.f",
                    f"{name}.inner.p",
                    f"{name}.name[{self.rng.randrange(8)}]",
                    f"len({name}.name)",
                    f"{name}.h[{self.index(scope, 4, depth)}]",
                )
            )
        return self.rng.choice(
            (f"{name}.b", f"{name}.g", f"{name}.inner.q", f"{name}.list[{self.index(scope, 3, depth)}]")
        )

    def map_read(self, kind: str, scope: Scope, depth: int) -> str:
        self.features["map read"] += 1
        if kind == "u":
            if scope.raises and self.chance(50):
                return f"table[{self.index(scope, 16, depth) if self.chance(50) else self.expr('n', scope, depth) + ' & 15'}]".replace(
                    "[-", "["
                )
            return (
                f"table.get({self.expr('n', scope, depth)} & 15, {self.rng.randrange(9)})"
                if self.chance(50)
                else f"counts[{self.expr('n', scope, depth)} & 15]"
            )
        if kind == "n":
            if scope.raises and self.chance(40):
                return f"words[{self.expr('n', scope, depth)} & 7]"
            return f"words.get({self.expr('n', scope, depth)} & 15, {self.rng.randrange(100)})"
        return f"pairs.get(Inner(p={self.expr('n', scope, depth)} & 3, q={self.rng.randrange(-1, 2)}), {self.rng.randrange(-9, 9)})"

    def call(self, kind: str, scope: Scope, depth: int) -> str:
        fitting = [f for f in self.functions if (f[2] == kind or (kind == "i" and f[2] == "n"))]
        if not fitting:
            return self.expr(kind, scope, depth)
        name, params, _ = self.rng.choice(fitting)
        self.features["call"] += 1
        return f"{name}({', '.join(self.any(scope, min(depth, 1)) for _ in params)})"

    def walrus(self, kind: str, scope: Scope, depth: int) -> str:
        names = [
            n
            for n, t in scope.ints.items()
            if KIND_OF[t] == kind and n not in scope.fixed and t in ("u64", "i64")
        ]
        if not names:
            return self.expr(kind, scope, depth)
        self.features["walrus"] += 1
        return f"({self.rng.choice(names)} := {self.expr(kind, scope, depth)})"

    def condition(self, scope: Scope, depth: int) -> str:
        roll = self.rng.randrange(100)
        if depth <= 0 or roll < 55:
            op = self.rng.choice(("<", "<=", ">", ">=", "==", "!="))
            if roll < 8:
                self.features["chained comparison"] += 1
                return f"{self.any(scope, depth - 1)} <= {self.any(scope, depth - 1)} {op} {self.any(scope, depth - 1)}"
            return f"{self.any(scope, depth - 1)} {op} {self.any(scope, depth - 1)}"
        if roll < 75:
            self.features["boolean operator"] += 1
            word = self.rng.choice(("and", "or"))
            return f"({self.condition(scope, depth - 1)} {word} {self.condition(scope, depth - 1)})"
        if roll < 82:
            return f"not ({self.condition(scope, depth - 1)})"
        if roll < 90:
            self.features["membership"] += 1
            return f"({self.expr('n', scope, depth - 1)} & 15) in words"
        if roll < 94 and scope.structs:
            self.features["bytes comparison"] += 1
            name = self.rng.choice(scope.structs)
            return self.rng.choice(
                (f'{name}.name == b"abc"', f'{name}.name.startswith(b"a")', f'{name}.name != b"pyebpf"')
            )
        return self.expr(self.rng.choice("inu"), scope, depth - 1)

    _i_options = (
        lambda g, s, d: f"({g.expr('i', s, d)} + {g.expr('i', s, d)})",
        lambda g, s, d: f"({g.expr('i', s, d)} - {g.expr('i', s, d)})",
        lambda g, s, d: f"({g.expr('n', s, d)} - {g.expr('n', s, d)})",
        lambda g, s, d: f"i64({g.expr('i', s, d)} * {g.constant('i')})",
        lambda g, s, d: f"i64({g.expr('n', s, d)} * {g.expr('n', s, d)})",
        lambda g, s, d: g.divide("i", s, d),
        lambda g, s, d: f"({g.expr('i', s, d)} {g.pick('&', '|', '^')} {g.expr('i', s, d)})",
        lambda g, s, d: g.shift("i", s, d),
        lambda g, s, d: f"(-{g.expr('i', s, d)})",
        lambda g, s, d: f"(~{g.expr('i', s, d)})",
        lambda g, s, d: g.convert(str(g.pick("i8", "i16", "i32", "i64")), s, d),
        lambda g, s, d: g.conditional("i", s, d),
        lambda g, s, d: g.element("i", s, d),
        lambda g, s, d: g.field("i", s, d),
        lambda g, s, d: g.map_read("i", s, d),
        lambda g, s, d: g.call("i", s, d),
        lambda g, s, d: g.walrus("i", s, d),
        lambda g, s, d: "narrow.value",
    )
    _n_options = (
        lambda g, s, d: f"u32({g.expr('n', s, d)} + {g.expr('n', s, d)})",
        lambda g, s, d: f"u16({g.expr('n', s, d)} * {g.expr('n', s, d)})",
        lambda g, s, d: g.divide("n", s, d),
        lambda g, s, d: f"({g.expr('n', s, d)} {g.pick('&', '|', '^')} {g.expr('n', s, d)})",
        lambda g, s, d: g.shift("n", s, d),
        lambda g, s, d: g.convert(str(g.pick("u8", "u16", "u32")), s, d),
        lambda g, s, d: g.conditional("n", s, d),
        lambda g, s, d: g.element("n", s, d),
        lambda g, s, d: g.field("n", s, d),
        lambda g, s, d: g.map_read("n", s, d),
        lambda g, s, d: g.call("n", s, d),
        lambda g, s, d: (
            next((t for t, k in [g.packet_read(s)] if k == "n"), "1") if s.packet and s.raises else "1"
        ),
        lambda g, s, d: f"bpf.htons({g.expr('n', s, d)})",
        lambda g, s, d: f"bpf.htonl({g.expr('n', s, d)})",
        lambda g, s, d: f"bpf.log2({g.expr('n', s, d)})",
        lambda g, s, d: "len(ctx)" if s.packet else "LIMIT",
        lambda g, s, d: "LIMIT",
    )
    _u_options = (
        lambda g, s, d: f"({g.expr('u', s, d)} {g.pick('+', '-', '*', '&', '|', '^')} {g.expr('u', s, d)})",
        lambda g, s, d: f"({g.expr('u', s, d)} {g.pick('+', '-', '*', '&', '|', '^')} {g.expr('n', s, d)})",
        lambda g, s, d: g.divide("u", s, d),
        lambda g, s, d: g.shift("u", s, d),
        lambda g, s, d: f"u64({g.any(s, d)})",
        lambda g, s, d: g.conditional("u", s, d),
        lambda g, s, d: g.element("u", s, d),
        lambda g, s, d: g.field("u", s, d),
        lambda g, s, d: g.map_read("u", s, d),
        lambda g, s, d: g.walrus("u", s, d),
        lambda g, s, d: "total.value",
    )

    # ------------------------------------------------------------ statements

    def emit(self, indent: int, text: str) -> None:
        self.lines.append("    " * indent + text)

    def block(self, indent: int, scope: Scope, count: int) -> None:
        """``count`` statements, or ``pass``."""
        before = len(self.lines)
        for _ in range(count):
            self.statement(indent, scope)
        if len(self.lines) == before:
            self.emit(indent, "pass")

    def declare(self, indent: int, scope: Scope) -> None:
        of = self.rng.choice(LOCAL_TYPES)
        name = self.fresh("v")
        self.emit(indent, f"{name}: {of} = {self.any(scope, 2)}")
        scope.ints[name] = of

    def assign(self, indent: int, scope: Scope) -> None:
        names = [n for n in scope.ints if n not in scope.fixed]
        if not names:
            self.declare(indent, scope)
            return
        name = self.rng.choice(names)
        kind = KIND_OF[scope.ints[name]]
        if self.chance(50):
            op = self.rng.choice(("+=", "-=", "^=", "|=", "&="))
            if op == "-=" and kind == "n":
                op = "+="
            self.features["augmented assignment"] += 1
            partner = "u" if kind == "u" and self.chance(50) else "n" if kind in "un" else "i"
            self.emit(indent, f"{name} {op} {self.expr(partner, scope, 2)}")
        else:
            self.emit(indent, f"{name} = {self.any(scope, 3)}")

    def statement(self, indent: int, scope: Scope) -> None:
        self.statements += 1
        if self.statements > 40 or indent > 5:
            self.assign(indent, scope)
            return
        choice = self.rng.choice(
            ("assign",) * 6
            + ("declare",) * 4
            + ("if",) * 5
            + (
                "for",
                "for",
                "for_array",
                "while",
                "try",
                "match",
                "aggregate",
                "aggregate",
                "store",
                "store",
                "map",
                "map",
                "map",
                "record",
                "global",
                "assert",
                "raise",
                "jump",
                "jump",
                "callback",
                "sequence",
                "packet",
                "unpack",
                "optional",
            )
        )
        getattr(self, f"s_{choice}", getattr(self, choice, self.assign))(indent, scope)

    def s_if(self, indent: int, scope: Scope) -> None:
        self.features["if"] += 1
        self.emit(indent, f"if {self.condition(scope, 2)}:")
        self.block(indent + 1, scope.inner(), self.rng.randint(1, 3))
        if self.chance(30):
            self.emit(indent, f"elif {self.condition(scope, 2)}:")
            self.block(indent + 1, scope.inner(), self.rng.randint(1, 2))
        if self.chance(50):
            self.emit(indent, "else:")
            self.block(indent + 1, scope.inner(), self.rng.randint(1, 2))

    def s_for(self, indent: int, scope: Scope) -> None:
        if scope.budget < 2:
            self.assign(indent, scope)
            return
        trips = self.rng.randint(2, min(scope.budget, 6))
        start, step = self.rng.randint(-3, 3), self.rng.choice((1, 1, 1, 2, -1))
        stop = start + trips * step
        name = self.fresh("i")
        self.features["for range"] += 1
        bounds = f"{trips}" if self.chance(50) else f"{start}, {stop}, {step}"
        inner = scope.inner(in_loop=True, budget=scope.budget // trips)
        inner.ints[name] = "i64" if bounds != f"{trips}" else "u32"
        inner.fixed.add(name)
        self.emit(indent, f"for {name} in range({bounds}):")
        self.block(indent + 1, inner, self.rng.randint(1, 3))
        if self.chance(20):
            self.features["loop else"] += 1
            self.emit(indent, "else:")
            self.block(indent + 1, scope.inner(), 1)

    def s_for_array(self, indent: int, scope: Scope) -> None:
        fitting = [(n, t, k) for n, (t, k) in scope.arrays.items() if k <= scope.budget]
        if not fitting:
            self.assign(indent, scope)
            return
        array, of, length = self.rng.choice(fitting)
        name = self.fresh("x")
        self.features["for array"] += 1
        inner = scope.inner(in_loop=True, budget=scope.budget // length)
        inner.ints[name] = of
        inner.fixed.add(name)
        self.emit(indent, f"for {name} in {array}:")
        self.block(indent + 1, inner, self.rng.randint(1, 2))

    def s_while(self, indent: int, scope: Scope) -> None:
        if scope.budget < 3:
            self.assign(indent, scope)
            return
        name = self.fresh("w")
        trips = self.rng.randint(2, 4)
        self.features["while"] += 1
        self.emit(indent, f"{name} = 0")
        self.emit(indent, f"while {name} < {trips}:")
        inner = scope.inner(in_loop=True, budget=scope.budget // trips)
        inner.ints[name] = "u32"
        inner.fixed.add(name)
        self.emit(indent + 1, f"{name} += 1")
        self.block(indent + 1, inner, self.rng.randint(1, 2))

    def s_try(self, indent: int, scope: Scope) -> None:
        self.features["try"] += 1
        self.emit(indent, "try:")
        self.block(indent + 1, scope.inner(raises=True), self.rng.randint(1, 3))
        clause = self.rng.choice(
            (
                "except KeyError:",
                "except IndexError:",
                "except (IndexError, ZeroDivisionError):",
                "except LookupError:",
                "except Exception:",
            )
        )
        self.emit(indent, clause)
        self.block(indent + 1, scope.inner(), self.rng.randint(1, 2))
        if self.chance(20):
            self.emit(indent, "else:")
            self.block(indent + 1, scope.inner(), 1)
        if self.chance(20):
            self.features["finally"] += 1
            self.emit(indent, "finally:")
            self.block(indent + 1, scope.inner(in_loop=False), 1)

    def s_match(self, indent: int, scope: Scope) -> None:
        self.features["match"] += 1
        self.emit(indent, f"match {self.expr('n', scope, 2)} & 7:")
        for value in self.rng.sample(range(8), 3):
            pattern = f"{value} | {(value + 1) % 8}" if self.chance(25) else str(value)
            self.emit(indent + 1, f"case {pattern}:")
            self.block(indent + 2, scope.inner(), 1)
        if self.chance(70):
            self.emit(indent + 1, "case _:")
            self.block(indent + 2, scope.inner(), 1)

    def aggregate(self, indent: int, scope: Scope) -> None:
        if len(scope.arrays) + 4 * len(scope.structs) > 7:
            self.store(indent, scope)
            return
        if self.chance(40):
            name = self.fresh("r")
            self.features["struct"] += 1
            values = ", ".join(
                f"{f}={self.any(scope, 1)}" for f in self.rng.sample(("a", "b", "c", "d", "e", "f", "g"), 3)
            )
            extra = self.rng.choice(
                (
                    "",
                    ", name=b'abc'",
                    f", inner=Inner(p={self.expr('n', scope, 1)}, q={self.expr('i', scope, 1)})",
                )
            )
            self.emit(indent, f"{name} = Record({values}{extra})")
            scope.structs.append(name)
        else:
            name = self.fresh("arr")
            of = self.rng.choice(("u8", "u16", "u32", "u64", "i32", "i64"))
            length = self.rng.choice((2, 3, 4, 8))
            self.features["array"] += 1
            self.emit(indent, f"{name} = bpf.array({of}, {length})")
            scope.arrays[name] = (of, length)

    def store(self, indent: int, scope: Scope) -> None:
        if scope.arrays and (not scope.structs or self.chance(50)):
            name, (_, length) = self.rng.choice(list(scope.arrays.items()))
            op = self.rng.choice(("=", "=", "+=", "^=", "|=")) if scope.arrays[name][0] != "u64" else "="
            value = self.expr("n", scope, 2) if op != "=" else self.any(scope, 2)
            self.features["array store"] += 1
            self.emit(indent, f"{name}[{self.index(scope, length, 1)}] {op} {value}")
        elif scope.structs:
            name = self.rng.choice(scope.structs)
            target = self.rng.choice(("a", "b", "c", "d", "e", "f", "g", "inner.p", "inner.q", "name", "h"))
            self.features["field store"] += 1
            if target == "name":
                self.emit(
                    indent,
                    f"{name}.name = {self.rng.choice(('b' + chr(39) + 'abc' + chr(39), 'b' + chr(39) + 'pyebpf' + chr(39), 'b' + chr(39) + chr(39)))}",
                )
            elif target == "h":
                self.emit(indent, f"{name}.h[{self.index(scope, 4, 1)}] = {self.any(scope, 2)}")
            else:
                self.emit(indent, f"{name}.{target} = {self.any(scope, 2)}")
        else:
            self.assign(indent, scope)

    def map(self, indent: int, scope: Scope) -> None:
        self.features["map write"] += 1
        key = f"{self.expr('n', scope, 1)} & 15"
        options = [
            f"table[{key}] += {self.expr('n', scope, 1)}",
            f"table[{key}] = {self.any(scope, 2)}",
            f"counts[{key}] += {self.expr('n', scope, 1)}",
            f"words.update({key}, {self.any(scope, 1)})",
            f"words.update({key}, {self.any(scope, 1)}, bpf.BPF_NOEXIST)",
            f"words.delete({key})",
            f"small.update({self.expr('n', scope, 1)} & 7, {self.any(scope, 1)})",
            f"pairs.update(Inner(p={self.expr('n', scope, 1)} & 3, q={self.rng.randrange(-1, 2)}), {self.any(scope, 1)})",
        ]
        if scope.raises:
            options += [
                f"words[{key}] = {self.any(scope, 1)}",
                f"del words[{key}]",
                f"small[{self.expr('n', scope, 1)} & 7] = {self.any(scope, 1)}",
            ]
        if scope.structs:
            options.append(
                f"records.update({self.expr('n', scope, 1)} & 7, {self.rng.choice(scope.structs)})"
            )
        self.emit(indent, self.rng.choice(options))

    def s_optional(self, indent: int, scope: Scope) -> None:
        self.features["optional"] += 1
        name = self.fresh("o")
        self.emit(indent, f"{name} = records.get({self.expr('n', scope, 1)} & 7)")
        self.emit(indent, f"if {name} is not None:")
        inner = scope.inner()
        inner.structs.append(name)
        self.emit(indent + 1, f"{name}.d += {self.expr('n', scope, 1)}")
        self.block(indent + 1, inner, 1)

    def s_record(self, indent: int, scope: Scope) -> None:
        self.s_optional(indent, scope)

    def s_global(self, indent: int, scope: Scope) -> None:
        self.features["global"] += 1
        self.emit(
            indent,
            self.rng.choice(
                (
                    f"total.value += {self.expr('n', scope, 2)}",
                    f"total.value = {self.any(scope, 2)}",
                    f"narrow.value = {self.any(scope, 2)}",
                    f"narrow.value += {self.expr('i', scope, 1)}",
                )
            ),
        )

    def s_assert(self, indent: int, scope: Scope) -> None:
        if not scope.raises:
            self.assign(indent, scope)
            return
        self.features["assert"] += 1
        self.emit(indent, f"assert {self.condition(scope, 1)} or {self.condition(scope, 1)}")

    def s_raise(self, indent: int, scope: Scope) -> None:
        if not scope.raises or self.chance(50):
            self.assign(indent, scope)
            return
        self.features["raise"] += 1
        self.emit(indent, f"if {self.condition(scope, 1)}:")
        self.emit(indent + 1, f"raise {self.rng.choice(('ValueError', 'KeyError', 'RuntimeError'))}")

    def s_jump(self, indent: int, scope: Scope) -> None:
        if not scope.in_loop:
            self.assign(indent, scope)
            return
        self.features["break/continue"] += 1
        self.emit(indent, f"if {self.condition(scope, 1)}:")
        self.emit(indent + 1, self.rng.choice(("break", "continue")))

    def s_callback(self, indent: int, scope: Scope) -> None:
        names = [n for n, t in scope.ints.items() if n not in scope.fixed and t in ("u64", "i64", "u32")]
        if not names or indent > 2 or scope.budget < 4 or scope.in_loop:
            self.assign(indent, scope)
            return
        self.features["callback"] += 1
        name, target = self.fresh("body"), self.rng.choice(names)
        self.emit(indent, f"def {name}(i: u32) -> bool:")
        self.emit(indent + 1, f"nonlocal {target}")
        inner = Scope(
            {"i": "u32", target: scope.ints[target]}, fixed={"i"}, packet=False, raises=False, budget=0
        )
        self.emit(indent + 1, f"{target} = {self.any(inner, 2)}")
        if self.chance(40):
            self.emit(indent + 1, f"table[i & 15] += {self.expr('n', inner, 1)}")
        self.emit(
            indent + 1,
            f"return {self.condition(inner, 1).replace(':=', '<')}" if self.chance(50) else "return False",
        )
        made = self.fresh("v")
        self.emit(indent, f"{made}: u32 = bpf.loop({self.rng.randint(0, 20)}, {name})")
        scope.ints[made] = "u32"

    def s_sequence(self, indent: int, scope: Scope) -> None:
        self.features["queue"] += 1
        if scope.raises and self.chance(40):
            self.emit(
                indent,
                f"{self.rng.choice(('table[1] += queue.pop()', 'table[2] += stack.pop()', 'table[3] += stack.peek()'))}",
            )
        else:
            self.emit(indent, f"{self.rng.choice(('queue', 'stack'))}.push({self.any(scope, 1)})")

    def s_packet(self, indent: int, scope: Scope) -> None:
        if not (scope.packet and scope.raises):
            self.assign(indent, scope)
            return
        text, kind = self.packet_read(scope)
        name = self.fresh("v")
        of = {"n": "u32", "i": "i32", "u": "u64"}[kind]
        self.emit(indent, f"{name}: {of} = {text}")
        scope.ints[name] = of

    def s_unpack(self, indent: int, scope: Scope) -> None:
        names = [n for n, t in scope.ints.items() if n not in scope.fixed]
        if len(names) < 2:
            self.declare(indent, scope)
            return
        self.features["tuple assignment"] += 1
        a, b = self.rng.sample(names, 2)
        self.emit(indent, f"{a}, {b} = {self.any(scope, 2)}, {self.any(scope, 2)}")

    # ------------------------------------------------------------ functions

    def make_function(self) -> None:
        """A function that programs call: plain or kept out of line."""
        name = self.fresh("f")
        params = [(self.fresh("p"), self.rng.choice(LOCAL_TYPES)) for _ in range(self.rng.randint(1, 3))]
        result = self.rng.choice(("u32", "i64", "i32", "u16"))
        raises = self.chance(40)
        style = self.rng.choice(("", "@bpf.function\n", "@bpf.noinline\n", "@bpf.inline\n"))
        self.features[f"function {style.strip() or 'plain'}"] += 1
        self.lines += ["", ""]
        self.lines += style.splitlines()
        self.emit(0, f"def {name}({', '.join(f'{p}: {t}' for p, t in params)}) -> {result}:")
        scope = Scope(dict(params), packet=False, raises=raises, budget=4)
        self.block(1, scope, self.rng.randint(1, 4))
        self.emit(1, f"return {result}({self.any(scope, 2)})")
        self.functions.append((name, [t for _, t in params], KIND_OF[result]))

    def program(self) -> str:
        """The whole module."""
        rng = self.rng
        self.lines = HEADER.format(
            default=rng.randrange(9),
            total=rng.randrange(1 << 16),
            narrow=rng.randrange(-99, 99),
            limit=rng.randrange(1000),
        ).splitlines()
        for _ in range(rng.randint(0, 2)):
            self.make_function()
        context = "bpf.Xdp" if self.kind == "xdp" else "bpf.SkBuff"
        self.lines += ["", ""]
        self.emit(0, f"@bpf.{self.kind}(on_error={rng.randrange(2, 200)})")
        self.emit(0, f"def program(ctx: {context}) -> int:")
        scope = Scope()
        for _ in range(rng.randint(2, 4)):
            self.declare(1, scope)
        self.statements = 0
        self.block(1, scope, rng.randint(5, 12))
        for slot, name in enumerate(list(scope.ints)[:8]):
            self.emit(1, f"table[{8 + slot}] = u64({name})")
        if scope.structs:
            self.emit(1, f"records.update(7, {rng.choice(scope.structs)})")
        self.emit(1, f"return i32({self.any(scope, 2)})")
        return "\n".join(self.lines) + "\n"


def generate(seed: int) -> tuple[str, Counter[str]]:
    """The source of program number ``seed``, and what it contains."""
    generator = Generator(seed)
    return generator.program(), generator.features
