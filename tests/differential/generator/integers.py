"""Integer expressions and conditions."""

from __future__ import annotations

from tests.differential.generator.core import Expression, Generator, Scope, expression, kind_of


@expression("i", weight=3)
def signed_sum(g: Generator, scope: Scope, depth: int) -> str:
    """Sums and differences, which wrap at 2**63."""
    left = g.small(g.pick("i", "n"), scope, depth)
    return f"({left} {g.pick('+', '-')} {g.small('i', scope, depth)})"


@expression("i")
def signed_product(g: Generator, scope: Scope, depth: int) -> str:
    """Products; one of values that are never negative is u64, so it is converted."""
    kind = g.pick("i", "n")
    return f"i64({g.small(kind, scope, depth)} * {g.small(kind, scope, depth)})"


@expression("n")
def small_sum(g: Generator, scope: Scope, depth: int) -> str:
    """A sum or product cut to a narrow type."""
    return f"{g.pick('u16', 'u32')}({g.small('n', scope, depth)} {g.pick('+', '*')} {g.small('n', scope, depth)})"


@expression("n")
def bare_sum(g: Generator, scope: Scope, depth: int) -> str:
    """A sum of narrow values, which cannot overflow."""
    return f"({g.expr('n', scope, 0)} + {g.expr('n', scope, min(depth, 1))} % 1000)"


@expression("u", weight=3)
def unsigned_arithmetic(g: Generator, scope: Scope, depth: int) -> str:
    """Arithmetic modulo 2**64."""
    op = g.pick("+", "-", "*", "&", "|", "^")
    if g.tame and op in "+-*":
        left = g.small("u", scope, depth) + (" + 8192" if op == "-" else "")
        return f"(({left}) {op} {g.small(g.pick('u', 'n'), scope, depth)})"
    return f"({g.expr('u', scope, depth)} {op} {g.expr(g.pick('u', 'n'), scope, depth)})"


@expression("u")
def product_of_narrow(g: Generator, scope: Scope, depth: int) -> str | None:
    """Unsigned operands are multiplied modulo 2**64."""
    names = [n for n, t in scope.ints.items() if kind_of(t) == "n"]
    if len(names) < 2:
        return None
    one, two = g.rng.sample(names, 2)
    if g.tame:
        return f"u64(({one} & 0xffff) * {two})"
    return f"u64({one} * {two})"


def _bitwise(kind: str) -> Expression:
    def production(g: Generator, scope: Scope, depth: int) -> str:
        return f"({g.expr(kind, scope, depth)} {g.pick('&', '|', '^')} {g.expr(kind, scope, depth)})"

    return production


def _conversion(kind: str, *types: str) -> Expression:
    def production(g: Generator, scope: Scope, depth: int) -> str:
        g.note("conversion")
        return f"{g.pick(*types)}({g.any(scope, depth)})"

    return production


def _division(kind: str) -> Expression:
    def production(g: Generator, scope: Scope, depth: int) -> str:
        g.note("division")
        left, op = g.expr(kind, scope, depth), g.pick("//", "%")
        if g.chance(60) or not scope.raises:
            divisor = g.pick("1", "2", "3", "4", "7", "8", "10", "16", "255", "1000", "65537")
            if kind == "i" and g.chance(30):
                divisor = f"(-{divisor})"
            if kind == "u" and g.chance(20):
                divisor = "u64(0xffffffffffffffff)"
            return f"({left} {op} {divisor})"
        g.note("division that may fail")
        return f"({left} {op} {g.opaque(kind)})"

    return production


def _shift(kind: str) -> Expression:
    def production(g: Generator, scope: Scope, depth: int) -> str:
        g.note("shift")
        count = g.pick("0", "1", "3", "7", "8", "16", "31", "32", "33", "48", "63")
        if g.chance(40):
            count = f"({g.expr('n', scope, depth)} & {g.pick('7', '15', '31', '63')})"
        value = g.expr(kind, scope, depth)
        if g.chance(50):
            return f"({value} >> {count})"
        if g.tame:
            value, count = f"({value} & 255)", f"({count} & {g.pick('7', '15', '31')})"
        return {
            "u": f"({value} << {count})",
            "i": f"i64({value} << {count})",
            "n": f"u32({value} << {count})",
        }[kind]

    return production


def _conditional(kind: str) -> Expression:
    def production(g: Generator, scope: Scope, depth: int) -> str:
        g.note("conditional expression")
        one, two = g.expr(kind, scope, depth), g.expr(kind, scope, depth)
        return f"({one} if {g.condition(scope, depth)} else {two})"

    return production


def _walrus(kind: str, of: str) -> Expression:
    def production(g: Generator, scope: Scope, depth: int) -> str | None:
        names = scope.assignable(of)
        if not names:
            return None
        g.note("walrus")
        text = g.expr(kind, scope, depth)
        return f"({g.rng.choice(names)} := {f'{of}({text})' if g.tame else text})"

    return production


def _extreme(kind: str) -> Expression:
    def production(g: Generator, scope: Scope, depth: int) -> str:
        g.note("min/max")
        items = [g.expr(kind, scope, depth) for _ in range(g.rng.randint(2, 3))]
        return f"{g.pick('min', 'max')}({', '.join(items)})"

    return production


for _kind, _types, _wide in (
    ("i", ("i8", "i16", "i32", "i64"), "i64"),
    ("n", ("u8", "u16", "u32"), "u32"),
    ("u", ("u64",), "u64"),
):
    expression(_kind, weight=2)(_bitwise(_kind))
    expression(_kind)(_conversion(_kind, *_types))
    expression(_kind)(_division(_kind))
    expression(_kind)(_shift(_kind))
    expression(_kind)(_conditional(_kind))
    expression(_kind)(_walrus(_kind, _wide))
    expression(_kind)(_extreme(_kind))


@expression("i")
def negation(g: Generator, scope: Scope, depth: int) -> str:
    """Unary operators."""
    return f"({g.pick('-', '~', '+')}{g.expr('i', scope, depth)})"


@expression("i")
def signed_corner(g: Generator, scope: Scope, depth: int) -> str:
    """Near the ends of i64, where it wraps; not of constants alone, which may not leave 64 bits."""
    if g.tame:
        return f"(({g.opaque('i')} & 255) - {g.pick('9223372036854775807', '0x7fffffffffffff00')})"
    end = g.pick("9223372036854775807", "(-9223372036854775808)", "0x7fffffffffffff00")
    return f"(({g.opaque('i')} | {g.expr('n', scope, depth)}) {g.pick('+', '-', '^')} {end})"


@expression("n")
def magnitude(g: Generator, scope: Scope, depth: int) -> str:
    """``abs`` of a narrow value."""
    return f"abs({g.pick('i8', 'i16', 'i32')}({g.expr('i', scope, depth)}))"


@expression("n")
def function_of_language(g: Generator, scope: Scope, depth: int) -> str:
    """Byte order, logarithm, constants."""
    call = g.pick("bpf.htons", "bpf.htonl", "bpf.ntohs", "bpf.ntohl", "bpf.log2")
    return g.pick(f"{call}({g.expr('n', scope, depth)})", "LIMIT", "limit.value", "len(TABLE)")


@expression("u")
def wide_byte_order(g: Generator, scope: Scope, depth: int) -> str:
    """64 bits reversed."""
    return f"bpf.htonll({g.expr('u', scope, depth)})"


@expression("n")
def truth_as_integer(g: Generator, scope: Scope, depth: int) -> str:
    """A bool counts as 0 or 1."""
    g.note("bool as integer")
    text = f"bool({g.condition(scope, depth)})"
    return g.pick(f"({g.expr('n', scope, 0)} + {text})", f"int({text})")


@expression("n")
def constant_table(g: Generator, scope: Scope, depth: int) -> str:
    """An element of a constant tuple or of constant bytes."""
    g.note("constant table")
    return g.pick(f"TABLE[{g.expr('n', scope, depth)} & 3]", f"WORD[{g.index(scope, 5, depth)}]", "WORD[-1]")


@expression("i")
def signed_global(g: Generator, scope: Scope, depth: int) -> str:
    """A variable that user space shares."""
    return "narrow.value"


@expression("u")
def unsigned_global(g: Generator, scope: Scope, depth: int) -> str:
    """The same, unsigned."""
    return "total.value"


# ---------------------------------------------------------------- conditions


@expression("bool", weight=10)
def comparison(g: Generator, scope: Scope, depth: int) -> str:
    """Operands of any kinds, by mathematical value."""
    op = g.pick("<", "<=", ">", ">=", "==", "!=")
    if g.chance(12):
        g.note("chained comparison")
        return f"{g.any(scope, depth - 1)} <= {g.any(scope, depth - 1)} {op} {g.any(scope, depth - 1)}"
    return f"{g.any(scope, depth - 1)} {op} {g.any(scope, depth - 1)}"


@expression("bool", weight=3)
def boolean_operator(g: Generator, scope: Scope, depth: int) -> str | None:
    """``and``, ``or``, ``not``."""
    if depth <= 0:
        return None
    g.note("boolean operator")
    if g.chance(25):
        return f"not ({g.condition(scope, depth - 1)})"
    word = g.pick("and", "or")
    return f"({f' {word} '.join(g.condition(scope, depth - 1) for _ in range(g.rng.randint(2, 3)))})"


@expression("bool", weight=2)
def truth(g: Generator, scope: Scope, depth: int) -> str:
    """An integer as a condition."""
    return g.any(scope, depth - 1)


@expression("bool")
def membership_in_tuple(g: Generator, scope: Scope, depth: int) -> str:
    """``in`` a tuple of constants."""
    g.note("membership in a tuple")
    return f"{g.any(scope, depth - 1)} {g.pick('in', 'not in')} (1, 7, 255)"


@expression("i", "n")
def logic_as_value(g: Generator, scope: Scope, depth: int) -> str:
    """``and`` and ``or`` give the operand that decides."""
    g.note("and/or as a value")
    return f"({g.expr('n', scope, depth)} {g.pick('and', 'or')} {g.expr('n', scope, depth)})"
