"""Structs, arrays and byte strings."""

from __future__ import annotations

from tests.differential.generator.core import (
    NATIVE,
    Expression,
    Generator,
    Scope,
    expression,
    kind_of,
    statement,
)

STRUCTS: dict[str, dict[str, str]] = {
    "Inner": {"p": "u16", "q": "i32"},
    "Packed": {"s": "u8", "t": "u32", "w": "be16", "x": "i64", "y": "le64"},
    "Record": {
        "a": "u8",
        "b": "i16",
        "c": "u32",
        "d": "u64",
        "e": "be16",
        "k": "le16",
        "f": "be32",
        "g": "i64",
        "l": "be64",
        "m": "le32",
    },
}
SIZES = {"Inner": 8, "Packed": 23, "Record": 104}
"""The scalar fields of the structs of every generated module; ``Record`` has aggregates too (``generate.HEADER``)."""


def fields(g: Generator, name: str, struct: str, kind: str, scope: Scope, depth: int) -> list[str]:
    """The places of ``kind`` in the struct variable ``name``."""
    found = [f"{name}.{f}" for f, of in STRUCTS[struct].items() if kind_of(of) == kind]
    if struct == "Record":
        index = g.index(scope, 3, depth)
        if kind == "n":
            found += [f"{name}.inner.p", f"{name}.cells[{index}].p", f"{name}.h[{g.index(scope, 4, depth)}]"]
        if kind == "i":
            found += [f"{name}.inner.q", f"{name}.cells[{index}].q", f"{name}.list[{index}]"]
    return found


def _field(kind: str) -> Expression:
    def production(g: Generator, scope: Scope, depth: int) -> str | None:
        if not scope.structs:
            return None
        name, struct = g.rng.choice(list(scope.structs.items()))
        found = fields(g, name, struct, kind, scope, depth)
        if not found:
            return None
        g.note("struct field")
        return g.rng.choice(found)

    return production


def _element(kind: str) -> Expression:
    def production(g: Generator, scope: Scope, depth: int) -> str | None:
        fitting = [
            (n, k)
            for n, (t, k) in scope.arrays.items()
            if kind_of(t) == kind or (kind == "i" and kind_of(t) == "n")
        ]
        if not fitting:
            return None
        name, length = g.rng.choice(fitting)
        g.note("array element")
        return f"{name}[{g.index(scope, length, depth)}]"

    return production


for _kind in "inu":
    expression(_kind, weight=2)(_field(_kind))
    expression(_kind, weight=2)(_element(_kind))


def _texts(g: Generator, scope: Scope) -> list[tuple[str, int]]:
    """The byte strings at hand, with their capacities."""
    found = [(name, size) for name, size in scope.chars.items()]
    return found + [(f"{name}.name", 8) for name, struct in scope.structs.items() if struct == "Record"]


@expression("n")
def byte(g: Generator, scope: Scope, depth: int) -> str | None:
    """A byte or the length of a byte string."""
    texts = _texts(g, scope)
    if not texts:
        return None
    g.note("byte of bytes")
    text, size = g.rng.choice(texts)
    part = g.pick("1:4", ":3", f"{size - 3}:")
    return g.pick(
        f"{text}[{g.index(scope, size, depth)}]", f"len({text})", f"{text}[{part}][{g.rng.randrange(3)}]"
    )


@expression("bool", weight=2)
def bytes_comparison(g: Generator, scope: Scope, depth: int) -> str | None:
    """Equality with constants and with each other, prefixes, slices."""
    texts = _texts(g, scope)
    if not texts:
        return None
    g.note("bytes comparison")
    text, size = g.rng.choice(texts)
    other, other_size = g.rng.choice(texts)
    op = g.pick("==", "!=")
    options = [
        f'{text} {op} b"abc"',
        f'{text} {op} b"pyebpf"',
        f'{text}.startswith(b"{g.pick("a", "ab", "py")}")',
        f'{text}[0:2] {op} b"ab"',
        f'{text}[:2] {op} b"ab"',
        f"{text}[{size - 2}:] {op} {other}[:2]",
        f"{text}[1:3] {op} {other}[0:2]",
    ]
    if size == other_size:
        options.append(f"{text} {op} {other}")
    return g.rng.choice(options)


# ---------------------------------------------------------------- making


def construction(g: Generator, struct: str, scope: Scope, depth: int = 1) -> str | None:
    """A call of the struct's class, where there is room for it."""
    if not g.take(SIZES[struct]):
        return None
    chosen = g.rng.sample(list(STRUCTS[struct].items()), g.rng.randint(0, min(3, len(STRUCTS[struct]))))
    values = [f"{name}={g.stored(of, scope, depth)}" for name, of in chosen]
    if struct == "Record":
        if g.chance(30):
            values.append(
                f"name={g.pick(chr(39).join(('b', 'abc', '')), chr(39).join(('b', 'abcdefgh', '')))}"
            )
        inner = construction(g, "Inner", scope, depth) if g.chance(30) else None
        if inner is not None:
            g.note("nested struct construction")
            values.append(f"inner={inner}")
    return f"{struct}({', '.join(values)})"


@statement(weight=2)
def struct_variable(g: Generator, indent: int, scope: Scope) -> bool:
    """A struct of its own, a copy, a second name, or one of two."""
    name, struct = g.fresh("r"), g.pick("Record", "Record", "Inner", "Packed")
    others = [n for n, s in scope.structs.items() if s == struct]
    if others and g.chance(50):
        other = g.rng.choice(others)
        match g.pick("copy", "alias", "either"):
            case "copy" if g.take(SIZES[struct]):
                g.note("bpf.copy")
                text = f"bpf.copy({other})"
            case "alias" | "copy":
                g.note("alias")
                text = other
                scope.shared |= {name} if other in scope.shared else set()
            case _:
                # References of one origin: the compiler does not join others.
                alike = [n for n in others if n.split("_")[0] == other.split("_")[0]]
                g.note("conditional reference")
                text = f"{other} if {g.condition(scope, 1)} else {g.rng.choice(alike)}"
                scope.shared |= {name} if other in scope.shared else set()
    else:
        made = construction(g, struct, scope)
        if made is None:
            return False
        g.note("struct")
        text = made
    g.emit(indent, f"{name} = {text}")
    scope.structs[name] = struct
    return True


@statement()
def array_variable(g: Generator, indent: int, scope: Scope) -> bool:
    """A zeroed array, or a part of one."""
    name = g.fresh("arr")
    wide = [(n, t, k) for n, (t, k) in scope.arrays.items() if k >= 4]
    if wide and g.chance(50):
        other, of, length = g.rng.choice(wide)
        g.note("array slice")
        first, end = g.rng.choice(((1, length - 1), (0, length - 1), (1, length), (length - 2, length)))
        g.emit(indent, f"{name} = {other}[{first or ''}:{end if end < length else ''}]")
        scope.arrays[name] = (of, end - first)
        return True
    of = g.pick("u8", "u16", "u32", "u64", "i8", "i32", "i64", *NATIVE)
    length = g.rng.choice((2, 3, 4, 5, 8))
    if not g.take(8 * length):
        return False
    g.note("array")
    g.emit(indent, f"{name} = bpf.array({of}, {length})")
    scope.arrays[name] = (of, length)
    return True


@statement()
def bytes_variable(g: Generator, indent: int, scope: Scope) -> bool:
    """A byte string of its own, or another name for one in a struct."""
    if not g.take(8):
        return False
    name = g.fresh("text")
    records = [n for n, s in scope.structs.items() if s == "Record"]
    g.note("bytes variable")
    if records and g.chance(40):
        g.emit(indent, f"{name} = {g.pick(f'{records[0]}.name', f'bpf.copy({records[0]}.name)')}")
        scope.chars[name] = 8
    else:
        g.emit(indent, f"{name} = bpf.chars(6)")
        scope.chars[name] = 6
    return True


# ---------------------------------------------------------------- writing


@statement(weight=2)
def element_store(g: Generator, indent: int, scope: Scope) -> bool:
    """``arr[i] = v`` and ``arr[i] op= v``."""
    if not scope.arrays:
        return False
    name, (of, length) = g.rng.choice(list(scope.arrays.items()))
    g.note("array store")
    place = f"{name}[{g.index(scope, length, 1)}]"
    _write(g, indent, scope, place, of, shared=False)
    return True


@statement(weight=2)
def field_store(g: Generator, indent: int, scope: Scope) -> bool:
    """``record.field = v`` and ``record.field op= v``, of nested fields and elements too."""
    if not scope.structs:
        return False
    name, struct = g.rng.choice(list(scope.structs.items()))
    kind = g.pick("i", "n", "u")
    found = fields(g, name, struct, kind, scope, 1)
    if not found:
        return False
    g.note("field store")
    place = g.rng.choice(found)
    of = STRUCTS[struct].get(place.removeprefix(f"{name}."), "")
    if not of:
        of = {"p": "u16", "q": "i32", "]": "u16" if kind == "n" else "i32"}[place[-1]]
    _write(g, indent, scope, place, of, shared=name in scope.shared)
    return True


def _write(g: Generator, indent: int, scope: Scope, place: str, of: str, *, shared: bool) -> None:
    if g.chance(60) or (shared and of not in ("u32", "u64", "i32", "i64")):
        g.emit(indent, f"{place} = {g.stored(of, scope, 2)}")
    else:
        g.note("augmented store")
        partner = "n" if kind_of(of) in "un" else "i"
        g.emit(indent, f"{place} {g.pick('+=', '^=', '|=', '&=')} {g.expr(partner, scope, 1)}")


@statement()
def aggregate_store(g: Generator, indent: int, scope: Scope) -> bool:
    """Storing a struct, an array or bytes copies."""
    records = [n for n, s in scope.structs.items() if s == "Record"]
    if not records:
        return False
    name, other = g.rng.choice(records), g.rng.choice(records)
    g.note("aggregate store")
    inners = [n for n, s in scope.structs.items() if s == "Inner"] + [f"{other}.inner", f"{other}.cells[-1]"]
    g.emit(
        indent,
        g.pick(
            f"{name}.name = {g.pick('b' + repr('abc'), 'b' + repr('pyebpf'), 'b' + repr(''))}",
            f"{name}.name = {other}.name",
            f"{name}.inner = {g.rng.choice(inners)}",
            f"{name}.cells[{g.index(scope, 3, 1)}] = {g.rng.choice(inners)}",
            f"{name}.list = {other}.list",
            f"{name}.inner = {construction(g, 'Inner', scope) or f'{other}.inner'}",
        ),
    )
    return True
