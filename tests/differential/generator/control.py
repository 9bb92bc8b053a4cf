"""Statements that steer: branches, loops, exceptions, ``match``, jumps; plain assignments too."""

from __future__ import annotations

from tests.differential.generator.core import Generator, Scope, statement


@statement(weight=5)
def assignment(g: Generator, indent: int, scope: Scope) -> bool:
    """To a variable that exists."""
    g.assign(indent, scope)
    return True


@statement(weight=3)
def declaration(g: Generator, indent: int, scope: Scope) -> bool:
    """A new variable."""
    g.declare(indent, scope)
    return True


@statement()
def tuple_assignment(g: Generator, indent: int, scope: Scope) -> bool:
    """Unpacking; swapping."""
    names = scope.assignable()
    if len(names) < 2:
        return False
    g.note("tuple assignment")
    one, two = g.rng.sample(names, 2)
    if g.chance(40) and not (g.tame and scope.ints[one] != scope.ints[two]):
        g.emit(indent, f"{one}, {two} = {two}, {one}")
    else:
        values = [g.value(scope.ints[name], scope, 2) for name in (one, two)]
        g.emit(indent, f"{one}, {two} = {', '.join(values)}")
    return True


@statement()
def global_store(g: Generator, indent: int, scope: Scope) -> bool:
    """Variables that user space shares: plain stores and atomic updates."""
    g.note("global")
    g.emit(
        indent,
        g.pick(
            f"total.value += {g.expr('n', scope, 2)}",
            f"total.value = {g.stored('u64', scope, 2)}",
            f"total.value ^= {g.expr('u', scope, 1)}",
            f"narrow.value = {g.stored('i32', scope, 2)}",
            f"narrow.value {g.pick('+=', '-=', '&=', '|=')} {g.expr('i', scope, 1)}",
        ),
    )
    return True


@statement(weight=5)
def branch(g: Generator, indent: int, scope: Scope) -> bool:
    """``if``, ``elif``, ``else``."""
    g.note("if")
    g.emit(indent, f"if {g.condition(scope, 2)}:")
    g.block(indent + 1, scope.inner(), g.rng.randint(1, 3))
    if g.chance(30):
        g.emit(indent, f"elif {g.condition(scope, 2)}:")
        g.block(indent + 1, scope.inner(), g.rng.randint(1, 2))
    if g.chance(50):
        g.emit(indent, "else:")
        g.block(indent + 1, scope.inner(), g.rng.randint(1, 2))
    return True


# ---------------------------------------------------------------- loops


def _body(g: Generator, indent: int, scope: Scope, trips: int, **variables: str) -> None:
    inner = scope.repeated(trips)
    inner.ints.update(variables)
    inner.fixed.update(variables)
    g.block(indent + 1, inner, g.rng.randint(1, 3))
    if g.chance(20):
        g.note("loop else")
        g.emit(indent, "else:")
        g.block(indent + 1, scope.inner(), 1)


@statement(weight=2)
def for_range(g: Generator, indent: int, scope: Scope) -> bool:
    """Constant bounds, variable ones, steps, backwards; the variable may be used afterwards."""
    if scope.budget < 2:
        return False
    trips = g.rng.randint(2, min(scope.budget, 6))
    name = g.fresh("k")
    g.note("for range")
    start, step = g.rng.randint(-3, 3), g.rng.choice((1, 1, 1, 2, -1, -3))
    match g.pick("count", "count", "bounds", "run time"):
        case "count":
            bounds, of = str(trips), "u32"
        case "bounds":
            bounds, of = f"{start}, {start + trips * step}, {step}", "i64"
        case _:
            g.note("for range with a run-time bound")
            mask = 3 if trips < 4 else 7
            bounds, of = f"{g.expr('n', scope, 1)} & {mask}", "u32"
            trips = mask + 1
    g.emit(indent, f"for {name} in range({bounds}):")
    _body(g, indent, scope, trips, **{name: of})
    return True


@statement()
def for_constants(g: Generator, indent: int, scope: Scope) -> bool:
    """A tuple of constants."""
    if scope.budget < 3:
        return False
    name = g.fresh("k")
    g.note("for over constants")
    items, of = g.rng.choice(
        (("(1, 5, 1000)", "u32"), ("TABLE", "u32"), ("WORD", "u8"), ("(-1, 2, -3)", "i64"))
    )
    g.emit(indent, f"for {name} in {items}:")
    _body(g, indent, scope, 5, **{name: of})
    return True


@statement()
def for_array(g: Generator, indent: int, scope: Scope) -> bool:
    """The elements of an array, of bytes, of an array of structs."""
    found = [(n, k, t) for n, (t, k) in scope.arrays.items()]
    found += [(n, k, "u8") for n, k in scope.chars.items()]
    for name, struct in scope.structs.items():
        if struct == "Record":
            found += [(f"{name}.h", 4, "u16"), (f"{name}.name", 8, "u8"), (f"{name}.cells", 3, "Inner")]
            found += [(f"{name}.h[1:3]", 2, "u16"), (f"{name}.name[2:6]", 4, "u8")]
            found += [(f"{name}.h[:2]", 2, "u16"), (f"{name}.name[5:]", 3, "u8")]
    fitting = [item for item in found if item[1] <= scope.budget]
    if not fitting:
        return False
    place, length, of = g.rng.choice(fitting)
    name = g.fresh("x")
    g.note("for over structs" if of == "Inner" else "for over elements")
    g.emit(indent, f"for {name} in {place}:")
    if of == "Inner":
        inner = scope.repeated(length)
        inner.structs[name] = "Inner"
        if place.removesuffix(".cells") in scope.shared:
            inner.shared.add(name)
        g.emit(indent + 1, f"{name}.p = {g.stored('u16', scope, 1)}")
        g.block(indent + 1, inner, g.rng.randint(1, 2))
    else:
        _body(g, indent, scope, length, **{name: of})
    return True


@statement()
def while_loop(g: Generator, indent: int, scope: Scope) -> bool:
    """Counting up or down, sometimes with a second condition, or left by ``break``."""
    if scope.budget < 3:
        return False
    name = g.fresh("w")
    trips = g.rng.randint(2, min(4, scope.budget))
    g.note("while")
    inner = scope.repeated(trips)
    inner.ints[name] = "u32"
    inner.fixed.add(name)
    match g.pick("up", "down", "both"):
        case "up":
            g.emit(indent, f"{name} = 0")
            g.emit(indent, f"while {name} < {trips}:")
            g.emit(indent + 1, f"{name} += 1")
        case "down":
            g.emit(indent, f"{name} = {trips}")
            g.emit(indent, f"while {name} > 0:")
            g.emit(indent + 1, f"{name} -= 1")
        case _:
            g.emit(indent, f"{name} = 0")
            g.emit(indent, f"while {name} < {trips} and {g.condition(scope, 1)}:")
            g.emit(indent + 1, f"{name} += 1")
    g.block(indent + 1, inner, g.rng.randint(1, 2))
    if g.chance(15):
        g.note("loop else")
        g.emit(indent, "else:")
        g.block(indent + 1, scope.inner(), 1)
    return True


@statement(weight=2)
def jump(g: Generator, indent: int, scope: Scope) -> bool:
    """``break`` and ``continue`` under a condition."""
    if not scope.in_loop:
        return False
    g.note("break/continue")
    g.emit(indent, f"if {g.condition(scope, 1)}:")
    if g.chance(40):
        g.assign(indent + 1, scope.inner())
    g.emit(indent + 1, g.pick("break", "continue"))
    return True


@statement()
def early_return(g: Generator, indent: int, scope: Scope) -> bool:
    """``return`` under a condition."""
    if not scope.result or g.chance(50):
        return False
    g.note("early return")
    g.emit(indent, f"if {g.condition(scope, 1)} and {g.opaque('n')} > 2:")
    g.emit(indent + 1, return_text(g, scope))
    return True


def return_text(g: Generator, scope: Scope) -> str:
    """A ``return`` with a value of the function's type."""
    if scope.result == "Inner":
        others = [n for n, s in scope.structs.items() if s == "Inner" and n.startswith("r_")]
        if others and g.chance(50):
            return f"return bpf.copy({g.rng.choice(others)})"
        return f"return Inner(p={g.stored('u16', scope, 1)}, q={g.stored('i32', scope, 1)})"
    return f"return {scope.result}({g.any(scope, 2)})"


# ---------------------------------------------------------------- match


@statement()
def match_statement(g: Generator, indent: int, scope: Scope) -> bool:
    """Literals, dotted constants, alternatives, captures, guards."""
    g.note("match")
    g.emit(indent, f"match {g.pick(g.expr('n', scope, 2) + ' & 7', g.expr('i', scope, 2) + ' % 5 - 2')}:")
    for _ in range(g.rng.randint(1, 4)):
        inner = scope.inner()
        value = g.rng.randrange(-2, 8)
        match g.rng.randrange(6):
            case 0:
                pattern = f"{value} | {value + 1}"
            case 1:
                g.note("match on a dotted name")
                pattern = g.pick("Color.RED", "bpf.XDP_PASS", "Color.GREEN | Color.BLUE")
            case 2:
                name = g.fresh("m")
                g.note("match with capture and guard")
                pattern = f"{name} if {name} > {value} and {g.condition(scope, 1)}"
                inner.ints[name] = "i64"
                inner.fixed.add(name)
            case 3:
                name = g.fresh("m")
                pattern = f"({value} | {value + 2}) as {name}"
                inner.ints[name] = "i64"
                inner.fixed.add(name)
            case 4:
                g.note("match with guard")
                pattern = f"{value} if {g.condition(scope, 1)}"
            case _:
                pattern = str(value)
        g.emit(indent + 1, f"case {pattern}:")
        g.block(indent + 2, inner, 1)
    if g.chance(60):
        g.emit(indent + 1, "case _:")
        g.block(indent + 2, scope.inner(), 1)
    return True


# ---------------------------------------------------------------- exceptions

CLAUSES = (
    "KeyError",
    "IndexError",
    "(IndexError, ZeroDivisionError)",
    "LookupError",
    "ArithmeticError",
    "ValueError",
    "AssertionError",
)


@statement(weight=2)
def try_statement(g: Generator, indent: int, scope: Scope) -> bool:
    """Handlers, ``else``, ``finally``, re-raising, error numbers."""
    g.note("try")
    g.emit(indent, "try:")
    everything = g.chance(50) or not scope.raises
    final = g.chance(30)
    # Without handlers for everything what is raised here must be allowed to leave.
    g.block(indent + 1, scope.inner(raises=True, plain=scope.plain and not final), g.rng.randint(1, 3))
    with_handlers = everything or not final or g.chance(60)
    if with_handlers:
        for clause in g.rng.sample(CLAUSES, g.rng.randint(0 if everything else 1, 2)):
            g.emit(indent, f"except {clause}:")
            _handler(g, indent, scope.inner(plain=scope.plain and not final))
        if g.chance(30):
            g.note("except OSError as e")
            name, number = g.fresh("e"), g.fresh("v")
            g.emit(indent, f"except OSError as {name}:")
            g.emit(indent + 1, f"{number}: u32 = {name}.errno")
            inner = scope.inner(plain=scope.plain and not final)
            inner.ints[number] = "u32"
            _handler(g, indent, inner)
        if everything:
            g.emit(indent, g.pick("except Exception:", "except Exception:", "except:  # noqa: E722"))
            g.block(indent + 1, scope.inner(plain=scope.plain and not final), 1)
        if g.chance(25):
            g.emit(indent, "else:")
            g.block(indent + 1, scope.inner(plain=scope.plain and not final), 1)
    if final:
        g.note("finally")
        g.emit(indent, "finally:")
        g.block(indent + 1, scope.inner(in_loop=False, plain=False, result=""), 1)
    return True


def _handler(g: Generator, indent: int, scope: Scope) -> None:
    g.block(indent + 1, scope, 1)
    if scope.raises and g.chance(20):
        g.note("raise again")
        g.emit(indent + 1, f"if {g.condition(scope, 1)}:")
        g.emit(indent + 2, "raise")


@statement()
def assertion(g: Generator, indent: int, scope: Scope) -> bool:
    """``assert``."""
    if not scope.raises:
        return False
    g.note("assert")
    g.emit(indent, f"assert {g.condition(scope, 1)} or {g.condition(scope, 1)} or {g.opaque('n')}")
    return True


@statement()
def raising(g: Generator, indent: int, scope: Scope) -> bool:
    """``raise`` under a condition."""
    if not scope.raises or g.chance(50):
        return False
    g.note("raise")
    g.emit(indent, f"if {g.condition(scope, 1)} and {g.opaque('n')} < 4:")
    exception = g.pick(
        "ValueError", "KeyError", "RuntimeError", "IndexError()", "OSError(7)", 'ValueError("no")'
    )
    if exception == "OSError(7)" and g.chance(50):
        exception = f"OSError({g.expr('n', scope, 1)} & 127)"
    g.emit(indent + 1, f"raise {exception}")
    return True
