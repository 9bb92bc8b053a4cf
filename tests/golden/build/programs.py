"""The typed trees of the golden cases, by name."""

from __future__ import annotations

from collections.abc import Callable

from pyebpf import layout as lay
from pyebpf.declare import GlobalDecl, MapDecl
from pyebpf.frontend import tree
from pyebpf.frontend.types import BOOL, I64, U64, Int, Maybe, Origin, Ref
from pyebpf.uapi.constants import MapType
from tests.unit.build import trees as t

PAIR = lay.struct_type("Pair", [("a", lay.U32), ("b", lay.U64), ("port", lay.BE16)])
IPV4 = lay.struct_type("Ipv4", [("head", lay.ArrayType(lay.U8, 9)), ("protocol", lay.U8)])
WORD = Int(False, 0, (1 << 32) - 1)


def counting() -> tree.Unit:
    """Count packets by protocol, as the language's first example does."""
    counts = t.array_map("counts", lay.U64, 256)
    program = t.Program(maps=[counts])
    at = tree.PacketCopy(
        span=t.AT, context=t.get(program.ctx), offset=t.num(23), type=t.ref(lay.U8), label="protocol"
    )
    protocol = t.local("protocol", Int(False, 0, 255))
    length = t.SKB.decl.context.field("len")
    assert length is not None
    return program.unit(
        t.put(protocol, t.read(at)),
        t.update(t.lookup(counts, t.get(protocol)), "+", t.num(1), atomic=True),
        t.ret(tree.ContextField(span=t.AT, context=t.get(program.ctx), row=length, index=0, type=WORD)),
    )


def packet_view() -> tree.Unit:
    """A view at a variable offset, and an element of it."""
    program = t.Program("xdp")
    i = t.local("i")
    view = tree.PacketView(
        span=t.AT, context=t.get(program.ctx), offset=t.get(i), type=Ref(IPV4, Origin.PACKET)
    )
    ip = t.local("ip", view.type)
    return program.unit(
        t.put(i, t.num(14)),
        t.put(ip, view),
        t.ret(t.read(t.element(t.field_of(t.get(ip), "head"), t.get(i)))),
    )


def structs() -> tree.Unit:
    """A struct as a key, with padding; the default inserted."""
    sizes = t.hash_map("sizes", PAIR, lay.U64, default=0)
    program = t.Program(maps=[sizes])
    key = t.local("key", t.ref(PAIR))
    return program.unit(
        t.put(key, t.new(PAIR, a=t.num(1), port=t.num(443))),
        t.update(t.lookup(sizes, t.get(key), tree.Missing.INSERT), "+", t.num(1), atomic=True),
        t.ret(t.num(0)),
    )


def loops() -> tree.Unit:
    """A range with break, continue and else; a while loop; unrolled constants."""
    program = t.Program()
    i, n = t.local("i"), t.local("n")
    return program.unit(
        t.put(n, t.num(0)),
        t.for_range(
            i,
            t.num(0),
            t.num(10),
            t.if_(t.compare("==", t.get(i), t.num(3)), t.CONTINUE),
            t.if_(t.compare("==", t.get(i), t.num(7)), t.BREAK),
            orelse=(t.put(n, t.num(1)),),
        ),
        t.while_(t.compare("<", t.get(n), t.num(5)), t.put(n, t.arith("+", t.get(n), t.num(1)))),
        tree.ForConstants(span=t.AT, local=i, values=(4, 2), body=(t.put(n, t.get(i)),), orelse=()),
        t.ret(t.get(n)),
    )


def hidden() -> tree.Unit:
    """A loop that the verifier would follow number by number: what a test in it looks at is hidden each time, within its
    interval where that counts; what only is looked at behind it, once there."""
    program = t.Program(maps=[table := t.array_map("table", lay.U64, 16)])
    word, count = Int(False, 0, 200), Int(False, 0, 100)
    i, n, m, found = t.local("i"), t.local("n", count), t.local("m", word), t.local("found", BOOL)
    body = (
        t.if_(
            t.compare(">", t.read(t.lookup(table, t.num(3))), t.num(7)),
            t.put(n, t.arith("+", t.get(n), t.num(1))),
            t.put(m, t.arith("+", t.get(m), t.num(2))),
        ),
        t.if_(t.compare("==", t.get(n), t.num(12)), t.put(found, t.boolean(True))),
        t.if_(t.get(found), t.put(n, t.num(3))),
    )
    known = tree.LoopKnowledge(entering={n: count, m: word}, leaving={n: count, m: word})
    return program.unit(
        t.put(n, t.num(0)),
        t.put(m, t.num(0)),
        t.put(found, t.boolean(False)),
        tree.ForRange(
            span=t.AT,
            local=i,
            start=t.num(0),
            stop=t.num(100),
            step=1,
            body=body,
            orelse=(),
            trips=100,
            known=known,
        ),
        t.if_(t.compare("==", t.get(m), t.num(4)), t.ret(t.num(2))),
        t.ret(t.read(t.element(t.text(bytes(101)), t.get(n), checked=False))),
    )


def iterators() -> tree.Unit:
    """Loops over the kernel's iterators, with a step, and with every way out: the iterator is destroyed on each."""
    program = t.Program("xdp", error_verdict=9)
    i, n = t.local("i", Int(False, 4, 99_997)), t.local("n")
    stop = t.local("stop", Int(False, 0, 100_000))
    return program.unit(
        t.put(n, t.num(0)),
        t.put(stop, t.num(77_777)),
        tree.ForRange(
            span=t.AT,
            local=i,
            start=t.num(4),
            stop=t.get(stop),
            step=3,
            body=(
                t.put(n, t.arith("+", t.get(n), t.get(i))),
                t.if_(t.compare("==", t.get(n), t.num(7)), t.BREAK),
                t.if_(t.compare("==", t.get(n), t.num(8)), t.CONTINUE),
                t.if_(t.compare("==", t.get(n), t.num(9)), t.raise_(tree.Exc.VALUE)),
                t.if_(t.compare("==", t.get(n), t.num(10)), t.ret(t.num(1))),
            ),
            orelse=(t.put(n, t.num(5)),),
            trips=33_332,
            driver=tree.LoopDriver.ITERATOR,
            known=tree.LoopKnowledge(head={n: I64}, entering={n: I64}, leaving={n: I64}),
        ),
        t.ret(t.get(n)),
    )


def exceptions() -> tree.Unit:
    """Handlers, a bare raise, finally on two ways out."""
    table = t.hash_map("table", lay.U32, lay.U64)
    program = t.Program(error_verdict=7, maps=[table])
    e = t.local("e")
    return program.unit(
        t.try_(
            t.do(t.map_update(table, t.num(1), t.num(2))),
            t.do(t.lookup(table, t.num(3))),
            handlers=(
                t.catch(tree.Exc.OS, errno=e, body=(t.ret(t.get(e)),)),
                t.catch(tree.Exc.KEY, body=(t.RERAISE,)),
            ),
            final=(t.do(tree.MapDelete(span=t.AT, map=table, key=t.num(1), checked=False, type=I64)),),
        ),
        t.ret(t.num(0)),
    )


def calls() -> tree.Unit:
    """A function that raises and returns a struct; its record."""
    program = t.Program()
    k = t.local("k", U64)
    make = t.function(
        "make",
        (k,),
        t.ref(PAIR),
        t.if_(t.compare(">", t.get(k), t.num(9)), t.raise_(tree.Exc.VALUE)),
        t.ret(t.new(PAIR, b=t.get(k))),
        raises=frozenset({tree.Exc.VALUE, tree.Exc.OS}),
    )
    e = t.local("e")
    return program.unit(
        t.try_(
            t.ret(t.read(t.field_of(t.call(make, t.num(5)), "b"))),
            handlers=(t.catch(tree.Exc.OS, errno=e, body=(t.ret(t.get(e)),)),),
        ),
    )


def callbacks() -> tree.Unit:
    """``bpf.loop`` with a captured variable, state, and an exception."""
    program = t.Program()
    total = t.local("total")
    total.boxed = True
    i, step = t.local("i", U64), t.local("step")
    body = t.function(
        "body",
        (i, step),
        BOOL,
        t.if_(t.compare("==", t.get(i), t.num(50)), t.raise_(tree.Exc.RUNTIME)),
        t.put(total, t.arith("+", t.get(total), t.get(step))),
        t.ret(t.compare(">", t.get(total), t.num(100))),
        kind=tree.FunctionKind.CALLBACK,
        raises=frozenset({tree.Exc.RUNTIME}),
        captures=(total,),
    )
    return program.unit(
        t.put(total, t.num(0)),
        t.do(tree.LoopCall(span=t.AT, count=t.num(80), body=body, state=t.num(3), type=I64)),
        t.ret(t.get(total)),
    )


def reserve() -> tree.Unit:
    """A ring buffer record with a return inside."""
    ring = MapDecl(MapType.RINGBUF, None, None, 4096, name="ring")
    program = t.Program(maps=[ring])
    inside = Ref(PAIR, Origin.RECORD)
    e = t.local("e", Maybe(inside))
    body = (
        t.if_(tree.IsNone(span=t.AT, operand=t.get(e)), t.ret(t.num(1))),
        t.store(t.field_of(t.get(e, inside), "b"), t.num(5)),
        t.if_(t.compare("==", t.read(t.field_of(t.get(e, inside), "a")), t.num(1)), t.raise_(tree.Exc.VALUE)),
    )
    return program.unit(tree.Reserve(span=t.AT, map=ring, local=e, layout=PAIR, body=body), t.ret(t.num(0)))


def integers() -> tree.Unit:
    """Floor division, comparisons of mixed signs, conversions."""
    program = t.Program()
    x, y = t.local("x"), t.local("y", U64)
    return program.unit(
        t.put(x, t.arith("//", t.get(x), t.num(10))),
        t.put(x, t.arith("%", t.get(x), t.num(8))),
        t.put(x, t.arith("%", t.get(x), t.get(x), may_be_zero=True)),
        t.put(y, t.arith("//", t.get(y), t.num(10), U64)),
        t.if_(
            t.compare("<", t.get(y), t.get(x)),
            t.ret(tree.Wrap(span=t.AT, layout=lay.I16, operand=t.get(x), type=I64)),
        ),
        t.ret(tree.SwapBytes(span=t.AT, bits=16, operand=t.get(y), type=U64)),
    )


def byte_strings() -> tree.Unit:
    """Comparison with a constant, length, a variable in .data."""
    name = GlobalDecl(lay.BytesType(12), b"abc", name="name")
    program = t.Program(globals=[name])
    ref = tree.GlobalVar(span=t.AT, decl=name, type=Ref(lay.BytesType(12), Origin.GLOBAL))
    copy = t.local("copy", t.ref(lay.BytesType(12)))
    same = tree.EqualBytes(span=t.AT, left=t.get(copy), right=t.text(b"abcdefghijkl"), length=12)
    return program.unit(
        t.put(copy, tree.CopyOf(span=t.AT, source=ref, type=t.ref(lay.BytesType(12)), label="copy")),
        t.if_(same, t.ret(t.num(1))),
        t.ret(tree.LengthOfBytes(span=t.AT, ref=ref, type=Int(False, 0, 12))),
    )


PROGRAMS: dict[str, Callable[[], tree.Unit]] = {
    build.__name__: build
    for build in (
        counting,
        packet_view,
        structs,
        loops,
        hidden,
        iterators,
        exceptions,
        calls,
        callbacks,
        reserve,
        integers,
        byte_strings,
    )
}
