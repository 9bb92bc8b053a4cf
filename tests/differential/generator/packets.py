"""The packet and the context: reads, copies, views, stores, length, fields, moving the ends."""

from __future__ import annotations

from tests.differential.generator.core import (
    NATIVE,
    Expression,
    Generator,
    Scope,
    expression,
    statement,
)
from tests.differential.generator.objects import STRUCTS

OFFSETS = ("0", "1", "2", "4", "6", "12", "13", "14", "20", "23", "30", "34", "40", "62")
BY_KIND = {
    "n": ("u8", "u16", "u32", "be16", "be32", "le16", "le32"),
    "i": ("i8", "i16", "i32", "i64"),
    "u": ("u64", "be64", "le64"),
}


def _offset(g: Generator, scope: Scope) -> str:
    if g.chance(25):
        return f"({g.expr('n', scope, 1)} & {g.pick('7', '15', '31', '63')})"
    return g.pick(*OFFSETS)


def _method(g: Generator) -> str:
    """How this sort of program reads: in place or by copy."""
    if g.kind == "xdp":
        return "read"
    return g.pick("read", "load") if g.kind == "tc" else "load"


def _read(kind: str) -> Expression:
    def production(g: Generator, scope: Scope, depth: int) -> str | None:
        if not (scope.packet and scope.raises):
            return None
        method = _method(g)
        g.note(f"packet {method}")
        return f"ctx.{method}({g.pick(*BY_KIND[kind])}, {_offset(g, scope)})"

    return production


for _kind, _weight in (("n", 2), ("i", 1), ("u", 1)):
    expression(_kind, weight=_weight)(_read(_kind))


@expression("n")
def length(g: Generator, scope: Scope, depth: int) -> str | None:
    """``len(ctx)``, and the difference of the ends."""
    if not scope.packet:
        return None
    g.note("packet length")
    return "len(ctx)" if g.kind == "socket_filter" else g.pick("len(ctx)", "(ctx.data_end - ctx.data)")


@expression("n")
def context_field(g: Generator, scope: Scope, depth: int) -> str | None:
    """Fields that a test run fixes."""
    if not scope.packet:
        return None
    g.note("context field")
    if g.kind == "xdp":
        return g.pick("ctx.ingress_ifindex", "ctx.rx_queue_index")
    return g.pick("ctx.mark", "ctx.len", "ctx.cb[0]", "ctx.cb[3]")


@statement()
def context_store(g: Generator, indent: int, scope: Scope) -> bool:
    """Fields that the program may write."""
    if not scope.packet or g.kind == "xdp":
        return False
    g.note("context store")
    fields = ("ctx.cb[0]", "ctx.cb[3]", "ctx.mark") if g.kind == "tc" else ("ctx.cb[0]", "ctx.cb[3]")
    g.emit(indent, f"{g.pick(*fields)} = {g.stored('u32', scope, 2)}")
    return True


@statement(weight=2)
def packet_variable(g: Generator, indent: int, scope: Scope) -> bool:
    """An integer out of the packet."""
    if not (scope.packet and scope.raises):
        return False
    of = g.pick("u8", "u16", "u32", "i16", "i32", "u64", *NATIVE)
    name, method = g.fresh("v"), _method(g)
    g.note(f"packet {method}")
    declared = NATIVE.get(of, of)
    g.emit(indent, f"{name}: {declared} = ctx.{method}({of}, {_offset(g, scope)})")
    scope.ints[name] = declared
    return True


@statement(weight=2)
def view(g: Generator, indent: int, scope: Scope) -> bool:
    """A struct in the packet: read and written in place, at once, while nothing moves it."""
    if not (scope.packet and scope.raises) or g.kind == "socket_filter":
        return False
    name, struct = g.fresh("view"), g.pick("Inner", "Packed")
    g.note("packet view")
    g.emit(indent, f"{name} = ctx.read({struct}, {_offset(g, scope)})")
    calm = scope.inner(raises=False, packet=False)
    for place, of in g.rng.sample(list(STRUCTS[struct].items()), 2):
        if g.chance(60):
            g.note("packet view write")
            g.emit(indent, f"{name}.{place} = {g.stored(of, calm, 1)}")
        else:
            made = g.fresh("v")
            declared = NATIVE.get(of, of)
            g.emit(indent, f"{made}: {declared} = {name}.{place}")
            scope.ints[made] = calm.ints[made] = declared
    return True


@statement()
def loaded_struct(g: Generator, indent: int, scope: Scope) -> bool:
    """A copy of a struct or of bytes of the packet."""
    if not (scope.packet and scope.raises) or g.kind == "xdp":
        return False
    name = g.fresh("r")
    g.note("packet load of an aggregate")
    if g.chance(50) and len(scope.structs) < 5:
        struct = g.pick("Inner", "Packed")
        g.emit(indent, f"{name} = ctx.load({struct}, {_offset(g, scope)})")
        scope.structs[name] = struct
    else:
        g.emit(indent, f"{name} = ctx.load_bytes({_offset(g, scope)}, 6)")
        scope.chars[name] = 6
    return True


@statement()
def packet_store(g: Generator, indent: int, scope: Scope) -> bool:
    """``ctx.store``: integers by type, structs, bytes."""
    if not (scope.packet and scope.raises) or g.kind != "tc":
        return False
    g.note("packet store")
    of = g.pick("u8", "u16", "u64", "i32", *NATIVE)
    texts = [f"ctx.store({_offset(g, scope)}, {g.stored(of, scope, 2)}, {of})"] * 2
    texts += [f"ctx.store({_offset(g, scope)}, {name})" for name in scope.structs]
    g.emit(indent, g.rng.choice(texts))
    return True


@statement(weight=4)
def move_ends(g: Generator, indent: int, scope: Scope) -> bool:
    """XDP: cut the frame or let it grow at either end, then read it anew."""
    if not scope.packet or g.kind != "xdp" or scope.in_loop:
        return False
    end = g.pick("head", "tail")
    g.note(f"adjust_{end}")
    name = g.fresh("v")
    delta = g.pick("4", "-4", "14", "-20", "100", f"{g.expr('n', scope, 1)} & 7")
    if end == "tail":
        delta = g.pick("-4", "-14", "4", "20", "-100", f"-({g.expr('n', scope, 1)} & 7)")
    g.emit(indent, f"{name}: i32 = ctx.adjust_{end}({delta})")
    scope.ints[name] = "i32"
    return True
