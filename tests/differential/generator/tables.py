"""Maps of every sort, queues, ring buffers."""

from __future__ import annotations

from tests.differential.generator.core import Generator, Scope, expression, kind_of, statement
from tests.differential.generator.objects import STRUCTS, construction


def _key(g: Generator, scope: Scope, depth: int, mask: int = 15) -> str:
    return f"{g.expr('n', scope, depth)} & {mask}"


def _inner_key(g: Generator, scope: Scope) -> str:
    return f"Inner(p={g.expr('n', scope, 1)} & 3, q={g.rng.randrange(-1, 2)})"


def _prefix(g: Generator, scope: Scope) -> str:
    length = g.pick("0", "8", "32", f"{g.expr('n', scope, 1)} & 31")
    return f"Prefix(prefixlen={length}, address=u32({g.expr('n', scope, 1)} << 28))"


@expression("u", weight=2)
def unsigned_value(g: Generator, scope: Scope, depth: int) -> str:
    """Values of u64."""
    g.note("map read")
    options = [
        f"table.get({_key(g, scope, depth)}, {g.rng.randrange(9)})",
        f"local.get({_key(g, scope, depth, 3)}, 0)",
        f"recent.get({_key(g, scope, depth)}, 3)",
    ]
    if scope.raises:
        options += [f"counts[{_key(g, scope, depth)}]", f"recent[{_key(g, scope, depth)}]"]
        options += [f"table[{_key(g, scope, depth)}]", f"table[{g.opaque('n')}]"]
    return g.rng.choice(options)


@expression("n", weight=2)
def small_value(g: Generator, scope: Scope, depth: int) -> str:
    """Values of u16 and u32."""
    g.note("map read")
    options = [
        f"words.get({_key(g, scope, depth)}, {g.rng.randrange(100)})",
        f"routes.get({_prefix(g, scope)}, 9)",
        f"slots.get({_key(g, scope, depth)}, 1)",
    ]
    if scope.raises:
        options += [f"words[{_key(g, scope, depth, 7)}]", f"small[{_key(g, scope, depth, 7)}]"]
        options += [f"routes[{_prefix(g, scope)}]"]
    return g.rng.choice(options)


@expression("i")
def signed_value(g: Generator, scope: Scope, depth: int) -> str:
    """Values of i64 under struct keys."""
    g.note("map with struct keys")
    return f"pairs.get({_inner_key(g, scope)}, {g.rng.randrange(-9, 9)})"


@expression("bool", weight=2)
def membership(g: Generator, scope: Scope, depth: int) -> str:
    """``in``."""
    g.note("membership")
    return g.pick(
        f"({_key(g, scope, depth - 1)}) in words",
        f"({_key(g, scope, depth - 1)}) not in records",
        f"{_inner_key(g, scope)} in pairs",
        f"{_prefix(g, scope)} in routes",
    )


@expression("n")
def error_number(g: Generator, scope: Scope, depth: int) -> str:
    """What the methods return: 0, or an error number below it."""
    g.note("error number")
    flags = g.pick("", ", bpf.BPF_NOEXIST", ", bpf.BPF_EXIST")
    return g.pick(
        f"(-words.update({_key(g, scope, depth)}, {g.stored('u32', scope, 1)}{flags}))",
        f"(-words.delete({_key(g, scope, depth)}))",
        f"(-queue.push({g.stored('u32', scope, 1)}))",
    )


@statement(weight=4)
def map_write(g: Generator, indent: int, scope: Scope) -> bool:
    """Updates that cannot fail loudly."""
    g.note("map write")
    key = _key(g, scope, 1)
    options = [
        f"words.update({key}, {g.stored('u32', scope, 1)})",
        f"words.update({key}, {g.stored('u32', scope, 1)}, bpf.{g.pick('BPF_NOEXIST', 'BPF_EXIST', 'BPF_ANY')})",
        f"words.delete({key})",
        f"small.update({_key(g, scope, 1, 7)}, {g.stored('u16', scope, 1)})",
        f"pairs.update({_inner_key(g, scope)}, {g.stored('i64', scope, 1)})",
        f"local.update({_key(g, scope, 1, 3)}, {g.stored('u64', scope, 1)})",
        f"slots.update({key}, {g.stored('u32', scope, 1)})",
        f"recent.update({key}, {g.stored('u64', scope, 1)})",
        f"routes.update({_prefix(g, scope)}, {g.stored('u32', scope, 1)})",
        f"routes.delete({_prefix(g, scope)})",
    ]
    records = [n for n, s in scope.structs.items() if s == "Record"]
    if records:
        options += [f"records.update({_key(g, scope, 1, 7)}, {g.rng.choice(records)})"] * 2
    g.emit(indent, g.rng.choice(options))
    return True


@statement(weight=4)
def map_item(g: Generator, indent: int, scope: Scope) -> bool:
    """``m[k] = v``, ``m[k] op= v``, ``del m[k]``: what fails raises."""
    if not scope.raises:
        return False
    g.note("map item")
    key = _key(g, scope, 1)
    g.emit(
        indent,
        g.pick(
            f"table[{key}] {g.pick('+=', '-=', '|=', '&=', '^=')} {g.expr('n', scope, 1)}",
            f"table[{key}] = {g.stored('u64', scope, 2)}",
            f"counts[{key}] += {g.expr('n', scope, 1)}",
            f"recent[{key}] += {g.expr('u', scope, 1)}",
            f"words[{key}] = {g.stored('u32', scope, 1)}",
            f"words[{key}] {g.pick('+=', '^=')} {g.expr('n', scope, 1)}",
            f"del words[{key}]",
            f"small[{_key(g, scope, 1, 7)}] = {g.stored('u16', scope, 1)}",
            f"local[{_key(g, scope, 1, 3)}] += {g.expr('n', scope, 1)}",
            f"slots[{key}] = {g.stored('u32', scope, 1)}",
            f"bpf.checked(words.update({key}, {g.stored('u32', scope, 1)}, bpf.BPF_NOEXIST))",
            f"records[{_key(g, scope, 1, 3)}].c = {g.stored('u32', scope, 1)}",
            f"records[{_key(g, scope, 1, 3)}].inner = Inner(p=3)",
            _whole_record(g, scope),
        ),
    )
    return True


def _whole_record(g: Generator, scope: Scope) -> str:
    made = construction(g, "Record", scope)
    return f"records[{_key(g, scope, 1, 3)}] = {made}" if made else "del records[1]"


# ---------------------------------------------------------------- optional values


@statement(weight=2)
def optional_struct(g: Generator, indent: int, scope: Scope) -> bool:
    """A struct in a map or None, told apart in every way that Python has."""
    g.note("optional struct")
    name = g.fresh("o")
    lookup = f"records.get({_key(g, scope, 1, 7)})"
    found = scope.inner()
    found.structs[name] = "Record"
    found.shared.add(name)
    change = f"{name}.d += {g.expr('n', scope, 1)}"
    match g.rng.randrange(6):
        case 0:
            g.emit(indent, f"{name} = {lookup}")
            g.emit(indent, f"if {name} is None:")
            g.block(indent + 1, scope.inner(), 1)
            g.emit(indent, "else:")
        case 1:
            g.note("walrus narrowing")
            g.emit(indent, f"if ({name} := {lookup}) is not None:")
        case 2:
            g.emit(indent, f"if {name} := {lookup}:")
        case 3:
            g.note("narrowing in `and`")
            g.emit(indent, f"{name} = {lookup}")
            field = g.pick(*(f for f, of in STRUCTS["Record"].items() if kind_of(of) != "u"))
            g.emit(indent, f"if {name} is not None and {name}.{field} != {g.constant('n')}:")
        case 4 if scope.in_loop:
            g.note("narrowing by a jump")
            g.emit(indent, f"{name} = {lookup}")
            g.emit(indent, f"if not {name}:")
            g.emit(indent + 1, "continue")
            g.emit(indent, change)
            scope.structs[name] = "Record"
            scope.shared.add(name)
            return True
        case _:
            g.emit(indent, f"{name} = {lookup}")
            g.emit(indent, f"if {name} is not None:")
    g.emit(indent + 1, change)
    g.block(indent + 1, found, 1)
    return True


@statement()
def optional_integer(g: Generator, indent: int, scope: Scope) -> bool:
    """An integer in a map or None."""
    g.note("optional integer")
    name = g.fresh("o")
    key = _key(g, scope, 1)
    found = scope.inner()
    found.ints[name] = "u32"
    found.fixed.add(name)
    if g.chance(40):
        g.emit(indent, f"if ({name} := words.get({key})) is not None:")
    else:
        g.emit(indent, f"{name} = words.get({key})")
        g.emit(indent, f"if {name} is not None:")
    g.block(indent + 1, found, g.rng.randint(1, 2))
    if g.chance(40):
        g.emit(indent, "else:")
        g.block(indent + 1, scope.inner(), 1)
    return True


# ---------------------------------------------------------------- queues and ring buffers


@statement(weight=2)
def sequence(g: Generator, indent: int, scope: Scope) -> bool:
    """Queues and stacks."""
    g.note("queue")
    if scope.raises and g.chance(60):
        text = g.pick("table[1] += queue.pop()", "table[2] += stack.pop()", "table[3] += stack.peek()")
        g.emit(indent, text)
    else:
        flags = g.pick("", ", bpf.BPF_EXIST")
        of = g.pick("queue", "stack")
        g.emit(indent, f"{of}.push({g.stored('u32' if of == 'queue' else 'u64', scope, 1)}{flags})")
    return True


@statement()
def record_output(g: Generator, indent: int, scope: Scope) -> bool:
    """A copy of a struct into the ring buffer."""
    if not scope.structs:
        return False
    g.note("ring buffer output")
    g.emit(indent, f"events.output({g.rng.choice(list(scope.structs))})")
    return True


@statement()
def record_reserve(g: Generator, indent: int, scope: Scope) -> bool:
    """A record made in place; leaving by an exception takes it back."""
    g.note("ring buffer reserve")
    name, struct = g.fresh("e"), g.pick("Record", "Inner", "Packed")
    g.emit(indent, f"with events.reserve({struct}) as {name}:")
    inner = scope.inner(plain=False)
    inner.structs[name] = struct
    if g.chance(50):
        g.emit(indent + 1, f"if {name} is None:")
        if scope.result and g.chance(50):
            g.emit(indent + 2, f"return {scope.result}(0)" if scope.result != "Inner" else "return Inner()")
        elif scope.raises:
            g.emit(indent + 2, "raise RuntimeError")
        else:
            inner = scope.inner(plain=False)
            g.emit(indent + 2, "narrow.value = 0")
        g.block(indent + 1, inner, g.rng.randint(1, 2))
    else:
        g.emit(indent + 1, f"if {name} is not None:")
        g.block(indent + 2, inner, g.rng.randint(1, 3))
    return True
