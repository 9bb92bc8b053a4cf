"""Shapes that optimisations look for, with the values at which a careless one goes wrong."""

from __future__ import annotations

from tests.differential.generator.core import Generator, Scope, expression, statement


def target(g: Generator, scope: Scope) -> str:
    """The start of a statement that takes any number."""
    names = scope.assignable("i64", "i32", "i16")
    return f"{g.rng.choice(names)} = " if names else "narrow.value = "


@expression("n")
def upper_part(g: Generator, scope: Scope, depth: int) -> str:
    """The upper half of a result of which only few bits are kept."""
    shift = g.rng.choice((31, 32, 33, 40, 48, 56))
    text = f"({g.expr('u', scope, depth)} {g.pick('+', '-', '*', '^')} {g.opaque('u')})"
    g.note("upper part of a result")
    return f"{g.pick('u8', 'u16', 'u32')}({text} >> {shift})"


@expression("n")
def signed_place(g: Generator, scope: Scope, depth: int) -> str:
    """A signed place, read as an unsigned number that is wider than the place or as wide."""
    g.note("signed place as an unsigned number")
    places = [
        "narrow.value",
        *(f"{n}[0]" for n, (of, _) in scope.arrays.items() if of[0] == "i" and of != "i64"),
    ]
    return f"(u32({g.rng.choice(places)}) >> {g.rng.choice((1, 3, 7, 15))})"


@expression("bool")
def wide_comparison(g: Generator, scope: Scope, depth: int) -> str:
    """A number of 64 bits beside one that fits 32 but no immediate."""
    g.note("wide number compared with 32 bits")
    wide = g.pick("(total.value * 0x9e3779b97f4a7c15)", "(total.value << 29)", "(total.value | 0x500000000)")
    return f"{wide} {g.pick('<', '>=', '>', '<=')} {g.pick('0x80000000', '0xffffffff', '0xa0000001')}"


@expression("u")
def narrow_by_wide(g: Generator, scope: Scope, depth: int) -> str:
    """A division of a narrow number by one of more than 32 bits, or the other way round."""
    g.note("division of different widths")
    wide = g.pick("0x500000003", "0x100000001", "0xffffffff00000000", "0x100000000")
    narrow = f"u32({g.pick('', '~')}{g.expr('n', scope, depth)})"
    if scope.raises and g.chance(60):  # for all that the types say it may be zero
        return f"(u64({narrow}) {g.pick('//', '%')} ({g.opaque('u')} | {wide}))"
    return f"(({g.opaque('u')} | {wide}) {g.pick('//', '%')} {g.pick('3', '7', '255', '65537')})"


@expression("i")
def from_the_end(g: Generator, scope: Scope, depth: int) -> str | None:
    """An index that is known at run time only, and always counts from the end."""
    if not scope.raises:
        return None
    g.note("run-time index from the end")
    index = g.pick("-1 - i64(total.value & 3)", "-(u8(narrow.value) & 3) - 1", "~(u8(total.value) & 3)")
    return f"TABLE[{index}]"


@statement()
def value_beside_zero(g: Generator, indent: int, scope: Scope) -> bool:
    """Parts of an object that are stored one after the other: wide values, zeros and constants."""
    if not g.take(32):
        return False
    g.note("stores side by side")
    name = g.fresh("s")
    g.emit(indent, f"{name} = bpf.array(u16, 4)")
    values = [
        g.pick("0", "0", "0x1234", "65535", f"u16({g.any(scope, 1)})", "u16(total.value)") for _ in range(4)
    ]
    for place in range(4) if g.chance(70) else g.rng.sample(range(4), 4):
        g.emit(indent, f"{name}[{place}] = {values[place]}")
    for place in range(4):
        g.emit(indent, f"{target(g, scope)}{name}[{place}] {g.pick('+', '^')} {g.leaf('n', scope)}")
        if g.chance(50):
            break
    if g.chance(60):  # read on one way only
        g.emit(indent, f"if {g.opaque('n')} {g.pick('<', '>', '!=')} {g.pick('3', '100')}:")
        g.emit(indent + 1, f"total.value ^= {name}[total.value & 3]")
        if g.chance(50):
            g.emit(indent, "else:")
            g.emit(indent + 1, f"narrow.value ^= {g.pick('1', '7')}")
    else:
        g.emit(indent, f"total.value ^= {name}[total.value & 3]")
    record = g.fresh("s")
    g.emit(
        indent, f"{record} = Packed(s={g.pick('1', 'u8(total.value)')}, t={g.pick('0', 'u32(total.value)')})"
    )
    g.emit(indent, f"{record}.w = {g.pick('0', 'u16(total.value >> 3)')}")
    g.emit(indent, f"events.output({record})")
    return True


def _loop(g: Generator, indent: int, lines: list[str], shared: str = "") -> None:
    """A callback with these lines, called a few times."""
    body = g.fresh("body")
    g.emit(indent, f"def {body}(i: u32) -> None:")
    if shared:
        g.emit(indent + 1, f"nonlocal {shared}")
    for line in lines:
        g.emit(indent + 1, line)
    g.emit(indent, f"bpf.loop({g.pick('1', '2', '3', '(total.value & 3)')}, {body})")


def _may_loop(indent: int, scope: Scope) -> bool:
    return indent <= 2 and scope.budget >= 4 and not scope.in_loop


@statement()
def callback_that_fails(g: Generator, indent: int, scope: Scope) -> bool:
    """What a callback assigned before it raised, or although it might have, is there afterwards."""
    if not _may_loop(indent, scope) or not scope.raises:
        return False
    g.note("callback that raises after it assigned")
    name = g.fresh("c")
    g.emit(indent, f"{name}: i64 = {g.constant('n')}")
    index = g.pick("(total.value & 1) + i", "i", "(total.value & 3) + i")
    lines = [f"{name} += {g.pick('1', 'i', '-7')}", f"{name} {g.pick('+=', '^=')} TABLE[{index}]"]
    if g.chance(50):
        g.emit(indent, "try:")
        _loop(g, indent + 1, lines, name)
        g.emit(indent, "except IndexError:")
        g.emit(indent + 1, f"total.value += u16({name})")
    else:
        _loop(g, indent, lines, name)
    g.emit(indent, f"{target(g, scope)}{name}")
    return True


@statement()
def variable_across_callback(g: Generator, indent: int, scope: Scope) -> bool:
    """A global variable is read, changed by a callback, and read again."""
    if not _may_loop(indent, scope):
        return False
    g.note("global changed by a callback")
    before, name = g.fresh("c"), g.pick("total", "narrow")
    g.emit(indent, f"{before} = {name}.value")
    _loop(g, indent, [f"{name}.value {g.pick('+=', '^=')} {g.pick('5', '1', '129')}"])
    g.emit(indent, f"{target(g, scope)}i64({name}.value - {before})")
    return True
