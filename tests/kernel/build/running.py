"""Hand-made trees, run twice: by the reference evaluator, and compiled, on the kernel; both must agree.

Programs write what they compute to the array map ``OUT`` (``out``), because a verdict has 32 bits only.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from pyebpf import layout as lay
from pyebpf.backend.codegen import compile_module
from pyebpf.backend.passes import dead_code, mem2reg
from pyebpf.backend.pipeline import optimize
from pyebpf.declare import MapDecl
from pyebpf.frontend import tree
from pyebpf.frontend.build import build
from pyebpf.ir.verify import verify
from pyebpf.runtime.events import RingBuf
from pyebpf.runtime.load import load
from pyebpf.runtime.maps import MappingMap
from pyebpf.target import Isa, Target
from pyebpf.uapi.constants import MapType
from tests.differential.evaluator import Context, Evaluator
from tests.unit.build import trees as t

FRAME = bytes(range(1, 13)) + b"\x08\x00" + bytes((7 * i + 3) & 0xFF for i in range(86))
"""A frame of 100 bytes."""

KERNEL = Target(Isa.V3, (6, 1))


@dataclass
class Case:
    """A program under construction and what it needs."""

    kind: str = "xdp"
    error_verdict: int = 99
    program: t.Program = field(init=False)
    out: MapDecl = field(init=False)

    def __post_init__(self) -> None:
        self.out = t.array_map("out", lay.U64, 64)
        self.program = t.Program(self.kind, error_verdict=self.error_verdict, maps=[self.out])

    @property
    def ctx(self) -> tree.GetLocal:
        """The context."""
        return t.get(self.program.ctx)

    def map(self, decl: MapDecl) -> MapDecl:
        """Add a map."""
        self.program.maps.append(decl)
        return decl

    def show(self, index: int, value: tree.Expr) -> tree.Stmt:
        """Write ``value`` to ``out[index]``."""
        return t.do(t.map_update(self.out, t.num(index), value, checked=False))


@dataclass(frozen=True)
class Outcome:
    """What a run left behind: the verdict, the packet, and the contents of the maps as bytes."""

    verdict: int
    packet: bytes
    maps: dict[str, dict[bytes, bytes]]
    records: dict[str, list[bytes]] = field(default_factory=dict)


def evaluate(unit: tree.Unit, frame: bytes, runs: int) -> Outcome:
    """The reference."""
    evaluator = Evaluator(unit)
    kind = unit.programs[0].program_kind
    assert kind is not None
    strip = 14 if kind.name == "socket_filter" else 0
    verdict, context = 0, Context(bytearray())
    for _ in range(runs):
        context = Context(bytearray(frame[strip:]))
        verdict = evaluator.run(unit.programs[0], context)
    maps = {
        decl.name or "": {k: bytes(v) for k, v in evaluator.map(decl).values.items()}
        for decl in unit.maps
        if decl.key is not None and decl.type is not MapType.PROG_ARRAY
    }
    # Where the kernel took the Ethernet header off, it gives back zeros in its place.
    records = {
        d.name or "": [bytes(r) for r in evaluator.map(d).records]
        for d in unit.maps
        if d.type is MapType.RINGBUF
    }
    return Outcome(verdict, bytes(strip) + bytes(context.packet), maps, records)


def compiled(
    unit: tree.Unit, frame: bytes = FRAME, runs: int = 1, target: Target = KERNEL, *, optimized: bool = True
) -> Outcome:
    """The kernel. Not ``optimized``: only variables become values, so that the lowering itself is seen."""
    module = build(unit, target)
    verify(module)
    if optimized:
        optimize(module, target=target, check=True)
    else:
        for function in module.functions.values():
            mem2reg.run(function)
            dead_code.run(function)
    with load(compile_module(module, target)) as loaded:
        verdict, packet = 0, b""
        for _ in range(runs):
            result = loaded.programs[unit.programs[0].name].run(frame)
            verdict, packet = result.verdict, result.data
        maps, records = {}, {}
        for decl in unit.maps:
            name = decl.name or ""
            live = loaded.maps[name]
            if isinstance(live, RingBuf):
                records[name] = list(live.poll(0))
            elif isinstance(live, MappingMap):
                maps[name] = dict(live._raw_pairs())
        return Outcome(verdict, packet, maps, records)


def check(unit: tree.Unit, *, frame: bytes = FRAME, runs: int = 1, target: Target = KERNEL) -> Outcome:
    """Run ``unit`` both ways, compare, and give the outcome."""
    expected = evaluate(unit, frame, runs)
    for optimized in (False, True):
        how = "optimized" if optimized else "as lowered"
        outcome = compiled(unit, frame, runs, target, optimized=optimized)
        assert outcome.verdict == expected.verdict, how
        assert outcome.maps == expected.maps, how
        assert outcome.packet == expected.packet, how
        assert outcome.records == expected.records, how
    return expected
