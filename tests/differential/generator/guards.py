"""Values that a test before them bounds: what the compiler concludes from comparisons must hold on every way."""

from __future__ import annotations

from tests.differential.generator.core import Generator, Scope, statement

TABLE_LENGTH = 4


def _target(g: Generator, scope: Scope) -> str:
    """The start of a statement that takes any number."""
    names = scope.assignable("i64", "i32", "i16")
    return f"{g.rng.choice(names)} = " if names else "narrow.value = "


def _variable(g: Generator, indent: int, kind: str) -> str:
    """A new variable with a value that is known at run time only."""
    name = g.fresh("b")
    g.emit(indent, f"{name}{g.pick('', ': i64' if kind == 'i' else ': u32')} = {g.opaque(kind)}")
    return name


@statement(weight=2)
def bounded_index(g: Generator, indent: int, scope: Scope) -> bool:
    """A comparison with the length of what is indexed, or with a number beside it, on either side of the branch."""
    arrays = [(name, length) for name, (_, length) in scope.arrays.items()]
    array, length = g.rng.choice([*arrays, ("TABLE", TABLE_LENGTH)])
    g.note("index behind a comparison")
    kind = g.pick("n", "n", "i") if scope.raises else "n"
    name = _variable(g, indent, kind)
    limit = length + (g.rng.choice((-1, 0, 0, 1)) if scope.raises else g.rng.choice((-1, 0)))
    low = f"{g.rng.choice((0, 0, -1, 1)) if scope.raises else 0} <= "
    target = _target(g, scope)
    inside = [f"{name} < {limit}", f"{limit} > {name}", f"{name} <= {limit - 1}", f"not {name} >= {limit}"]
    if kind == "i":
        inside = [low + text for text in inside[::2]]
    test = g.pick(*inside)
    item = f"{target}{array}[{name}{g.pick('', '', ' >> 1') if kind == 'n' else ''}]"
    match g.pick("then", "else", "walrus"):
        case "else" if kind == "n":
            g.emit(
                indent,
                f"if {g.pick(f'{name} >= {limit}', f'{limit - 1} < {name}', f'not {name} < {limit}')}:",
            )
            g.emit(indent + 1, f"{target}{name} % {g.rng.choice((3, 8, 1000))}")
            g.emit(indent, "else:")
            g.emit(indent + 1, item)
        case "walrus" if kind == "n":
            other = g.fresh("b")
            g.emit(indent, f"if ({other} := {name}) < {limit}:")
            g.emit(indent + 1, f"{target}{array}[{other}]")
        case _:
            g.emit(indent, f"if {test}:")
            g.emit(indent + 1, item)
            if g.chance(50):
                g.emit(indent, "else:")
                g.emit(indent + 1, f"{target}{name}")
    return True


def _use(g: Generator, name: str, scope: Scope) -> str:
    """A number for which the sign of ``name`` matters."""
    shift, divisor = g.rng.choice((1, 7, 31, 33, 63)), g.rng.choice((2, 3, 8, 1000))
    return g.pick(
        f"{name} >> {shift}",
        f"{name} // {divisor}",
        f"{name} % {divisor}",
        f"int({name} < u64({g.constant('n')}))",
        f"i64({name} * 3)",
        f"abs({name})",
        f"-{name} >> 1",
        f"({name} + 1) // {divisor}",
        f"int({name} <= {g.opaque('i')})",
        f"i16({name})",
    )


@statement(weight=2)
def bounded_sign(g: Generator, indent: int, scope: Scope) -> bool:
    """A comparison with zero or a number near it, and arithmetic on both of its sides that depends on the sign."""
    g.note("sign behind a comparison")
    name = _variable(g, indent, "i")
    limit = g.rng.choice((0, 0, 0, 1, -1, -129, 100))
    target = _target(g, scope)
    g.emit(indent, f"if {g.pick('', 'not ')}{name} {g.pick('<', '<=', '>', '>=', '==', '!=')} {limit}:")
    g.emit(indent + 1, target + _use(g, name, scope))
    g.emit(indent, "else:")
    g.emit(indent + 1, target + _use(g, name, scope))
    if g.chance(50):
        g.emit(indent, target + _use(g, name, scope))
    return True


@statement()
def counted_down(g: Generator, indent: int, scope: Scope) -> bool:
    """A variable that changes its sign while a loop runs."""
    if scope.budget < 3:
        return False
    g.note("sign changes in a loop")
    name, counter = g.fresh("b"), g.fresh("k")
    trips = g.rng.randint(2, min(scope.budget, 5))
    g.emit(indent, f"{name}: i64 = {g.pick('0', '1', '2', '(narrow.value & 3)')}")
    g.emit(indent, f"for {counter} in range({trips}):")
    inner = scope.repeated(trips)
    inner.ints |= {name: "i64", counter: "u32"}
    inner.fixed |= {name, counter}
    g.emit(indent + 1, f"{_target(g, scope)}{_use(g, name, scope)}")
    g.block(indent + 1, inner, g.rng.randint(0, 1))
    g.emit(indent + 1, f"{name} {g.pick('-= 1', f'-= {counter}', '= -' + name, '-= 2')}")
    scope.ints[name] = "i64"
    return True
