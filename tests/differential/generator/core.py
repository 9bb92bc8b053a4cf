"""What all subjects of the generator share: the scope of a position, names, constants, and the tables of productions.

Expressions are made by kind: ``i`` any signed 64-bit value, ``n`` signed but never negative, ``u`` unsigned 64-bit. A
production is a function registered with ``expression`` or ``statement``; each subject is a module of its own.
Everything generated follows the rules of the language without asking the compiler: what is stored in a narrow
place is converted where it could be a constant that does not fit, and what may fail at run time is computed from
values that no compiler can know (``opaque``), because what always fails is refused.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace

LOCAL_TYPES = ("u8", "u16", "u32", "u64", "i8", "i16", "i32", "i64")
NATIVE = {f"{order}{bits}": f"u{bits}" for order in ("be", "le") for bits in (16, 32, 64)}
"""The integers with an order of bytes of their own, and what their values are."""

CORNERS = {
    "n": (0, 1, 2, 3, 5, 7, 8, 15, 16, 31, 63, 64, 100, 127, 128, 255, 256, 1000, 32767, 65535, 65536),
    "wide": (0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 0x100000000, 0x123456789),
    "u": (2**63 - 1, 2**63, 2**64 - 1, 2**64 - 256, 0xFFFFFFFF00000000),
    "i": (-1, -2, -128, -129, -(2**31), -(2**31) - 1),
}


EFFORT = 130
"""Statements of a program, each counted as often as loops and calls repeat it. The verifier follows every iteration and
every branch, and gives up after a million instructions whoever compiled them; with this limit it stays far below."""


def kind_of(of: str) -> str:
    """The kind of the values that a place of type ``of`` holds."""
    return "u" if NATIVE.get(of, of) == "u64" else "i" if of[0] == "i" else "n"


@dataclass(frozen=True, slots=True)
class Callable_:
    """A generated function: what it takes and gives. ``defaults``: how many of the last parameters have one."""

    name: str
    params: tuple[tuple[str, str], ...]
    result: str
    defaults: int = 0
    raises: bool = True
    effort: int = 1
    room: int = 0  # bytes of its objects on the stack, again for every place where it is inlined


@dataclass(slots=True)
class Scope:
    """What a position in a function may use, and what it may do."""

    ints: dict[str, str] = field(default_factory=dict)  # name -> type
    arrays: dict[str, tuple[str, int]] = field(default_factory=dict)
    structs: dict[str, str] = field(default_factory=dict)  # name -> struct
    chars: dict[str, int] = field(default_factory=dict)
    shared: set[str] = field(default_factory=set)  # structs in maps: other CPUs may write them too
    fixed: set[str] = field(default_factory=set)  # may be read, not assigned
    in_loop: bool = False
    budget: int = 8  # iterations that further nested loops may multiply to
    times: int = 1  # how often the verifier goes through here, roughly
    packet: bool = True  # the context is at hand
    raises: bool = True  # an exception may leave here
    result: str = "i32"  # what `return` gives; empty: there is no return here
    plain: bool = True  # not in `with` or `finally`, so that a tail call is possible

    def repeated(self, trips: int) -> Scope:
        """The scope of the body of a loop."""
        inner = self.inner(in_loop=True)
        inner.budget, inner.times = self.budget // trips, self.times * trips
        return inner

    def inner(
        self,
        *,
        in_loop: bool | None = None,
        raises: bool | None = None,
        plain: bool | None = None,
        result: str | None = None,
        packet: bool | None = None,
    ) -> Scope:
        """The scope of a nested block: what it declares stays its own."""
        return replace(
            self,
            ints=dict(self.ints),
            arrays=dict(self.arrays),
            structs=dict(self.structs),
            chars=dict(self.chars),
            shared=set(self.shared),
            fixed=set(self.fixed),
            in_loop=self.in_loop if in_loop is None else in_loop,
            raises=self.raises if raises is None else raises,
            plain=self.plain if plain is None else plain,
            result=self.result if result is None else result,
            packet=self.packet if packet is None else packet,
        )

    def assignable(self, *types: str) -> list[str]:
        """The integer variables (of some types) that may be assigned."""
        return [n for n, t in self.ints.items() if n not in self.fixed and (not types or t in types)]


Expression = Callable[["Generator", Scope, int], str | None]
Statement = Callable[["Generator", int, Scope], bool]
EXPRESSIONS: dict[str, list[Expression]] = {"i": [], "n": [], "u": [], "bool": []}
STATEMENTS: list[Statement] = []


def expression(*kinds: str, weight: int = 1) -> Callable[[Expression], Expression]:
    """Register a production of expressions; it gives None where the scope does not allow it."""

    def register(production: Expression) -> Expression:
        for kind in kinds:
            EXPRESSIONS[kind] += [production] * weight
        return production

    return register


def statement(weight: int = 1) -> Callable[[Statement], Statement]:
    """Register a production of statements; it emits nothing and gives False where the scope does not allow it."""

    def register(production: Statement) -> Statement:
        STATEMENTS.extend([production] * weight)
        return production

    return register


class Generator:
    """One program from one seed; ``features`` counts what it contains."""

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)
        self.lines: list[str] = []
        self.features: Counter[str] = Counter()
        self.functions: list[Callable_] = []
        self.targets = 0  # programs that can be tail-called
        self.room = 240  # bytes of the stack that are left for objects
        self.kind = self.rng.choice(("xdp", "xdp", "tc", "tc", "socket_filter"))
        self.tame = self.chance(65)  # values stay where Python's integers and ours are the same
        self.favoured: list[Statement] = []
        self.effort = 0  # what may still be spent on the function: statements, as often as they are verified
        self._names = 0

    # ------------------------------------------------------------ pieces

    def chance(self, percent: int) -> bool:
        """True in so many cases of a hundred."""
        return self.rng.randrange(100) < percent

    def pick(self, *choices: str) -> str:
        """One of the choices."""
        return self.rng.choice(choices)

    def fresh(self, stem: str) -> str:
        """A name that is used nowhere else."""
        self._names += 1
        return f"{stem}_{self._names}"

    def note(self, feature: str) -> None:
        """Count a feature."""
        self.features[feature] += 1

    def constant(self, kind: str) -> str:
        """A literal of a kind: often a corner of some type."""
        roll = self.rng.randrange(10)
        if roll < 2:
            value = self.rng.getrandbits(self.rng.choice((4, 8, 16, 31)))
        elif roll < 4 and kind != "n":
            value = self.rng.choice(CORNERS[kind])
        elif roll == 4:
            value = self.rng.choice(CORNERS["wide"])
        else:
            value = self.rng.choice(CORNERS["n"])
        if kind == "i" and value > 0 and self.chance(40):
            value = -value
        text = hex(value) if value > 0xFFFF and self.chance(50) else str(value)
        return f"({text})" if value < 0 else text

    def names(self, kind: str, scope: Scope) -> list[str]:
        """The variables whose values are of ``kind``."""
        return [n for n, t in scope.ints.items() if kind_of(t) == kind or (kind == "i" and kind_of(t) == "n")]

    def leaf(self, kind: str, scope: Scope) -> str:
        """A variable or a constant."""
        names = self.names(kind, scope)
        if names and self.chance(75):
            return self.rng.choice(names)
        return f"u64({self.constant(kind)})" if kind == "u" else self.constant(kind)

    def expr(self, kind: str, scope: Scope, depth: int) -> str:
        """The text of an expression of ``kind``."""
        while depth > 0 and not self.chance(15):
            text = self.rng.choice(EXPRESSIONS[kind])(self, scope, depth - 1)
            if text is not None:
                return text
        return self.leaf(kind, scope)

    def small(self, kind: str, scope: Scope, depth: int) -> str:
        """An expression of ``kind``, small where the program is tame, so that what is computed with it does not wrap."""
        text = self.expr(kind, scope, depth)
        return text if not self.tame else f"({text} & {self.pick('1', '15', '255', '4095')})"

    def value(self, of: str, scope: Scope, depth: int) -> str:
        """A value for a variable of type ``of``, which keeps its low bits; tame programs say that they do."""
        text = self.any(scope, depth)
        return f"{of}({text})" if self.tame else text

    def any(self, scope: Scope, depth: int) -> str:
        """An integer of any kind."""
        return self.expr(self.pick("i", "n", "u"), scope, depth)

    def condition(self, scope: Scope, depth: int) -> str:
        """A condition."""
        while True:
            text = self.rng.choice(EXPRESSIONS["bool"])(self, scope, depth)
            if text is not None:
                return text

    def opaque(self, kind: str) -> str:
        """A value that is known only at run time."""
        if kind == "u":
            return self.pick("total.value", "(total.value >> 3)")
        if kind == "n":
            return self.pick(
                "u8(total.value & 7)", "u8(total.value)", "u16(narrow.value)", "(narrow.value & 31)"
            )
        return self.pick("narrow.value", "i8(total.value)", "(narrow.value % 5 - 2)")

    def stored(self, of: str, scope: Scope, depth: int) -> str:
        """A value for a place of type ``of``, in range where it is a constant."""
        native = NATIVE.get(of, of)
        if self.chance(40):
            runtime = [n for n in scope.ints if n not in scope.fixed]
            if runtime:
                name = self.rng.choice(runtime)
                return self.pick(name, f"({name} ^ {name})", f"({name} & {self.opaque('n')})")
        return f"{native}({self.any(scope, depth)})"

    def index(self, scope: Scope, length: int, depth: int) -> str:
        """An index into something of ``length``: usually inside, from the end now and then."""
        roll = self.rng.randrange(100)
        mask = (1 << (length.bit_length() - 1)) - 1
        if roll < 30:
            return f"({self.expr('n', scope, depth)} & {mask})"
        if roll < 40 and scope.raises:  # proven, but not to the verifier: it stays a check
            return f"({self.expr('n', scope, depth)} % {length})"
        if roll < 75 or not scope.raises:
            self.note("negative index")
            return str(self.rng.randrange(-length, length))
        self.note("index that may be outside")
        return self.pick(
            f"({self.opaque('n')} & {2 * mask + 1})", self.opaque("i"), f"({self.opaque('i')} - 1)"
        )

    def take(self, size: int) -> bool:
        """Whether there is room for an object of ``size`` bytes on the stack; then it is taken."""
        if size > self.room:
            return False
        self.room -= size
        return True

    # ------------------------------------------------------------ statements

    def emit(self, indent: int, text: str) -> None:
        """Add a line."""
        self.lines.append("    " * indent + text)

    def statement(self, indent: int, scope: Scope) -> None:
        """Add a statement of any sort; only assignments once the program is large or deep."""
        self.effort -= scope.times if scope.times == 1 else 2 * scope.times
        if self.effort > 0 and indent <= 5:
            while not self.production()(self, indent, scope):
                pass
        else:
            self.assign(indent, scope)

    def production(self) -> Statement:
        """A production of statements; every program has some that it favours, so that none stays rare."""
        if not self.favoured:
            self.favoured = self.rng.sample(list(dict.fromkeys(STATEMENTS)), 5)
        return self.rng.choice(self.favoured if self.chance(35) else STATEMENTS)

    def block(self, indent: int, scope: Scope, count: int) -> None:
        """Add ``count`` statements."""
        for _ in range(count):
            self.statement(indent, scope)

    def declare(self, indent: int, scope: Scope) -> None:
        """Add a new integer variable: annotated, or of the type that its value gives it."""
        name = self.fresh("v")
        if self.chance(75):
            of = self.pick(*LOCAL_TYPES)
            self.emit(indent, f"{name}: {of} = {self.value(of, scope, 2)}")
        else:
            of = self.pick("u64", "i64", "u32")
            self.note("variable without annotation")
            self.emit(indent, f"{name} = {self.expr(kind_of(of), scope, 2)}")
            scope.fixed.add(name)
        scope.ints[name] = of

    def assign(self, indent: int, scope: Scope) -> None:
        """Assign to an integer variable, or declare one."""
        names = scope.assignable()
        if not names:
            self.declare(indent, scope)
            return
        name = self.rng.choice(names)
        kind = kind_of(scope.ints[name])
        if self.tame and self.chance(50):
            op = self.pick("&=", "|=", "^=", *(("-=", "*=", "+=") if kind == "i" else ("+=",)))
            value = {"&=": self.expr("n", scope, 2), "*=": self.pick("1", "-1", "0")}
            self.emit(indent, f"{name} {op} {value.get(op, f'({self.expr(chr(110), scope, 2)} & 1)')}")
        elif self.tame:
            self.emit(indent, f"{name} = {self.value(scope.ints[name], scope, 3)}")
        elif self.chance(50):
            op = (
                self.pick("+=", "-=", "^=", "|=", "&=", "*=")
                if kind != "n"
                else self.pick("+=", "^=", "|=", "&=")
            )
            partner = "u" if kind == "u" and self.chance(50) else "n" if kind in "un" else "i"
            self.note("augmented assignment")
            self.emit(indent, f"{name} {op} {self.expr(partner, scope, 2)}")
        else:
            self.emit(indent, f"{name} = {self.any(scope, 3)}")
