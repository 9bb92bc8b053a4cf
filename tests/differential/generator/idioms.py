"""Small pieces that need nothing around them, each with a construct that random composition meets too rarely."""

from __future__ import annotations

from tests.differential.generator.core import NATIVE, Callable_, Generator, Scope, kind_of, statement
from tests.differential.generator.objects import SIZES

LABEL = 12
"""The size of the struct ``Label``, which holds a byte string and a number."""


def _label(g: Generator, indent: int, scope: Scope) -> str | None:
    if not g.take(LABEL):
        return None
    name = g.fresh("label")
    text = g.pick("b'abc'", "b'pyebpf'", "b''", "b'abcdefgh'")
    g.emit(indent, f"{name} = Label(text={text}, count={g.stored('u8', scope, 1)})")
    return name


def _result(g: Generator, indent: int, scope: Scope, of: str, text: str) -> None:
    """A new variable with a value that fits its type."""
    name = g.fresh("v")
    g.emit(indent, f"{name}: {of} = {text}")
    scope.ints[name] = of


@statement()
def prefix_of_text(g: Generator, indent: int, scope: Scope) -> bool:
    """``startswith``, ``len``, bytes and slices of a byte string."""
    name = _label(g, indent, scope)
    if name is None:
        return False
    prefix = g.pick("b'a'", "b'py'", "b'abcd'")
    g.emit(indent, f"if {name}.text.startswith({prefix}) or len({name}.text) > {g.rng.randrange(8)}:")
    g.emit(indent + 1, f"total.value += {name}.text[{g.rng.randrange(-8, 8)}]")
    g.block(indent + 1, scope.inner(), 1)
    if g.chance(50):
        part = g.pick("[1:3]", "[:2]", "[6:]")
        g.emit(indent, f"elif {name}.text{part} {g.pick('==', '!=')} b'bc' or {name}.text == b'pyebpf':")
        g.emit(indent + 1, g.pick("pass", "narrow.value = 1", f"{name}.text = b'other'"))
    _result(g, indent, scope, "u32", f"len({name}.text)")
    return True


@statement()
def copied_object(g: Generator, indent: int, scope: Scope) -> bool:
    """A copy is changed, what it was copied from is not."""
    others = [n for n, of in scope.structs.items() if of == "Inner"]
    if not g.take(24):
        return False
    if others:
        source = g.rng.choice(others)
    else:
        source = g.fresh("r")
        g.emit(indent, f"{source} = Inner(p={g.stored('u16', scope, 1)})")
        scope.structs[source] = "Inner"
    name = g.fresh("r")
    g.emit(indent, f"{name} = bpf.copy({source})")
    g.emit(indent, f"{name}.q = {g.stored('i32', scope, 1)}")
    scope.structs[name] = "Inner"
    g.emit(indent, f"total.value ^= u64({source}.p + {name}.p)")
    return True


@statement()
def union_variable(g: Generator, indent: int, scope: Scope) -> bool:
    """What one field of a union stores is read through another."""
    if not g.take(8):
        return False
    name = g.fresh("either")
    first = g.pick(f"whole={g.stored('u64', scope, 1)}", f"signed={g.stored('i16', scope, 1)}", "")
    g.emit(indent, f"{name} = Either({first})")
    g.emit(indent, f"{name}.halves[{g.index(scope, 2, 1)}] {g.pick('=', '^=')} {g.stored('u32', scope, 1)}")
    _result(g, indent, scope, "u64", f"{name}.whole")
    _result(g, indent, scope, "i16", f"{name}.signed")
    return True


@statement()
def function_of_number(g: Generator, indent: int, scope: Scope) -> bool:
    """Byte order, logarithm, sizes."""
    value = g.expr("n", scope, 1)
    call = g.pick("htons", "ntohs", "htonl", "ntohl", "log2", "log2")
    g.emit(indent, f"total.value += bpf.{call}({value}) + bpf.sizeof({g.pick('Record', 'Packed', 'Inner')})")
    if g.chance(50):
        call = g.pick("htons", "ntohs", "log2l")
        _result(g, indent, scope, "u16", f"bpf.{call}({g.expr('n', scope, 1)})")
    return True


@statement()
def checked_update(g: Generator, indent: int, scope: Scope) -> bool:
    """``bpf.checked`` makes an exception of an error number."""
    g.emit(indent, "try:")
    flags = g.pick("", ", bpf.BPF_NOEXIST", ", bpf.BPF_EXIST")
    g.emit(
        indent + 1,
        f"bpf.checked(words.update({g.expr('n', scope, 1)} & 7, {g.stored('u32', scope, 1)}{flags}))",
    )
    name = g.fresh("e")
    g.emit(indent, f"except OSError as {name}:")
    g.emit(indent + 1, f"total.value += u8({name}.errno)")
    return True


@statement()
def nothing(g: Generator, indent: int, scope: Scope) -> bool:
    """``pass``."""
    g.emit(indent, f"if {g.condition(scope, 1)}:")
    g.emit(indent + 1, "pass")
    g.emit(indent, "else:")
    g.block(indent + 1, scope.inner(), 1)
    return True


@statement()
def found_or_none(g: Generator, indent: int, scope: Scope) -> bool:
    """A name for a struct in a map, or for nothing."""
    name = g.fresh("o")
    key = f"{g.expr('n', scope, 1)} & 3"
    g.emit(indent, f"{name} = records.get({key}) if {g.opaque('n')} > {g.rng.randrange(3)} else None")
    g.emit(indent, f"if {name} is not None:")
    g.emit(indent + 1, f"{name}.d += {g.expr('n', scope, 1)}")
    return True


@statement()
def search(g: Generator, indent: int, scope: Scope) -> bool:
    """A loop over the elements of an array that skips some and stops at one."""
    length = g.rng.randint(3, 5)
    if scope.budget < length or not g.take(8 * length):
        return False
    of = g.pick("u8", "i8", "u16", "i16", "u32", "i64", "le16", "be64", "le64")
    array, item, found = g.fresh("arr"), g.fresh("x"), g.fresh("v")
    g.emit(indent, f"{array} = bpf.array({of}, {length})")
    for _ in range(2):
        g.emit(indent, f"{array}[{g.index(scope, length, 1)}] = {g.stored(of, scope, 1)}")
    g.emit(indent, f"{found}: i64 = 0")
    g.emit(indent, f"for {item} in {array}{g.pick('', '[1:]', '[:2]')}:")
    inner = scope.repeated(length)
    inner.ints[item] = NATIVE.get(of, of)
    inner.fixed.add(item)
    if g.chance(60):
        g.emit(indent + 1, f"if {item} == {g.constant('n')}:")
        g.emit(indent + 2, "continue")
    g.emit(indent + 1, f"if {g.condition(inner, 1)}:")
    g.emit(indent + 2, f"{found} = {item}")
    g.emit(indent + 2, "break")
    if g.chance(50):
        g.emit(indent, "else:")
        g.emit(indent + 1, f"{found} = -1")
    scope.ints[found] = "i64"
    scope.arrays[array] = (of, length)
    return True


@statement()
def parts_of_record(g: Generator, indent: int, scope: Scope) -> bool:
    """Structs in a struct and in an array of it."""
    name = next((n for n, of in scope.structs.items() if of == "Record" and n not in scope.shared), None)
    if name is None:
        if not g.take(SIZES["Record"]):
            return False
        name = g.fresh("r")
        g.emit(indent, f"{name} = Record(a={g.stored('u8', scope, 1)}, e={g.stored('be16', scope, 1)})")
        scope.structs[name] = "Record"
    g.emit(indent, f"{name}.cells[{g.index(scope, 3, 1)}].q = {g.stored('i32', scope, 1)}")
    g.emit(indent, f"{name}.inner.p {g.pick('=', '+=', '^=')} {g.stored('u16', scope, 1)}")
    g.emit(indent, f"{name}.f = {g.stored('be32', scope, 1)}")
    g.emit(indent, f"{name}.cells[{g.rng.randrange(-3, 3)}] = {name}.inner")
    _result(g, indent, scope, "i32", f"{name}.cells[{g.rng.randrange(3)}].q")
    _result(g, indent, scope, "u16", f"{name}.h[{g.index(scope, 4, 1)}]")
    return True


@statement()
def bytes_of_packet(g: Generator, indent: int, scope: Scope) -> bool:
    """A copy of bytes, and writing some back, where the sort of program has that."""
    if not (scope.packet and scope.raises) or g.kind == "xdp" or not g.take(8):
        return False
    name = g.fresh("text")
    at = g.pick("0", "2", "6", f"({g.expr('n', scope, 1)} & 7)")
    g.emit(indent, f"{name} = ctx.load_bytes({at}, 6)")
    scope.chars[name] = 6
    if g.kind == "tc":
        of = g.pick("u8", "u16", "u64", "i32", *NATIVE)
        g.emit(indent, f"ctx.store({g.pick('0', '4', '6')}, {g.stored(of, scope, 1)}, {of})")
    return True


def _pieces(g: Generator, scope: Scope, count: int) -> list[str]:
    """Parts of an f-string, each with a number."""
    pieces = [f"{name}={{{name}{g.pick('', ':d', ':5', ':08d')}}}" for name in scope.ints]
    pieces += [
        f"{{{name}:{g.pick('x', '#x', '4X')}}}" for name, of in scope.ints.items() if kind_of(of) != "i"
    ]
    pieces += [
        f"{{{name}[{g.rng.randrange(-length, length)}]}}" for name, (_, length) in scope.arrays.items()
    ]
    pieces += [f"{{{name}.q:+d}}" for name, struct in scope.structs.items() if struct == "Inner"]
    pieces += [f"{{{name} & 7}} % of" for name in scope.ints]
    return g.rng.sample(pieces, min(len(pieces), count))


@statement()
def formatted(g: Generator, indent: int, scope: Scope) -> bool:
    """``bpf.snprintf`` into a buffer, which may be too small; the result is what the whole text needs."""
    size, chosen = g.rng.choice((6, 8, 16, 24)), _pieces(g, scope, g.rng.choice((1, 1, 2, 3, 5)))
    if not chosen or not g.take(size + 8 * len(chosen)):
        return False
    name = g.fresh("text")
    g.note("snprintf")
    g.emit(indent, f"{name} = bpf.chars({size})")
    scope.chars[name] = size
    _result(g, indent, scope, "u32", f'bpf.snprintf({name}, f"{" ".join(chosen)}")')
    if g.chance(60):
        g.emit(indent, f"total.value ^= {name}[{g.rng.randrange(-size, size)}] + len({name})")
    return True


@statement(weight=2)
def printed(g: Generator, indent: int, scope: Scope) -> bool:
    """``print``: once or twice in a program and not in loops, because its lines go to the buffer of the whole system."""
    if scope.in_loop or scope.times > 1 or g.features["print"] >= 2:
        return False
    chosen = _pieces(g, scope, g.rng.choice((0, 1, 2, 3, 3, 5)))
    if g.chance(25) and scope.chars and g.take(16):
        chosen.append(f"{{{g.rng.choice(list(scope.chars))}}}")
    if len(chosen) > 3 and not g.take(8 * len(chosen)):
        return False
    g.note("print")
    g.emit(indent, f'print(f"{", ".join(chosen)}.")' if chosen else 'print("here")')
    return True


def make_factory(g: Generator) -> None:
    """A function that makes functions from a constant, and what it makes."""
    outer, name = g.fresh("make"), g.fresh("f")
    style = g.pick("@bpf.function", "@bpf.noinline", "@bpf.inline")
    g.lines += ["", ""]
    g.emit(0, f"def {outer}(step: int, table: tuple[int, ...]):  # noqa: ANN201")
    g.emit(1, style)
    g.emit(1, "def stepped(x: u32) -> u32:")
    g.emit(
        2,
        f"return u32((x & 0xFFFF) {g.pick('+', '*', '^')} step + table[{g.pick('step & 1', 'x & 1', '-1')}])",
    )
    g.emit(1, "return stepped")
    g.lines += ["", ""]
    g.emit(0, f"{name} = {outer}({g.rng.randrange(1, 500)}, ({g.rng.randrange(99)}, {g.rng.randrange(99)}))")
    g.functions.append(Callable_(name, ((g.fresh("p"), "u32"),), "u32", raises=False))
