"""Programs from seeds: a kind of program, its headers, some pieces, a verdict."""

from __future__ import annotations

import random

from tests.kernel.programs.frames import dns, ethernet, ipv4, ipv6, tcp, udp
from tests.valid import functions, loops, packets, tables
from tests.valid.pieces import PIECES, notes
from tests.valid.writer import FILTER, TC, VERDICT, XDP, Kind, Writer

SUBJECTS = (functions, loops, packets, tables)
"""The modules whose pieces are in the table once they are imported."""

KINDS = (XDP, XDP, XDP, TC, TC, TC, FILTER, FILTER, VERDICT)


def kind_of(seed: int) -> Kind:
    """What kind of program number ``seed`` is."""
    return random.Random(f"kind {seed}").choice(KINDS)


def generate(seed: int) -> str:
    """Program number ``seed``."""
    w = Writer(random.Random(f"valid {seed}"), kind_of(seed))
    packets.headers(w)
    for _ in range(w.rng.randint(1, 5)):
        _add(w)
    if w.chance(60):
        with w.block(f"if {w.condition()}:"):
            w.emit(f"return {w.verdict()}")
    w.emit(f"return {w.verdict()}")
    return w.source()


def _add(w: Writer) -> None:
    """A piece, perhaps under a condition or in a ``try``."""
    piece = PIECES[w.rng.choice(sorted(PIECES))]
    where = w.rng.randrange(10)
    if where == 0:
        with w.block(f"if {w.condition()}:"):
            piece(w)
    elif where == 1:
        with w.block("try:"):
            piece(w)
        with w.block(f"except {w.pick('Exception', 'LookupError', 'IndexError', '(OSError, KeyError)')}:"):
            notes(w, 1)
        if w.chance(30):
            with w.block("finally:"):
                notes(w, 1)
    else:
        piece(w)


def frames(seed: int) -> list[bytes]:
    """Packets as they come: whole ones, a short one, one with noise for a payload."""
    rng = random.Random(f"frames {seed}")
    payload = bytes(rng.choices(b"GET foobar HTTP abc\0\x01\xff09", k=rng.choice((0, 8, 40, 200))))
    whole = [
        ethernet(0x800, ipv4(6, tcp(40000, 443, options=bytes((2, 4, 5, 180, 1, 1, 4, 2)), payload=payload))),
        ethernet(0x800, ipv4(17, udp(5353, 53, dns("www.example.org")))),
        ethernet(
            0x800,
            ipv4(17, udp(rng.randrange(65536), 80, rng.randbytes(rng.randrange(300))), options=bytes(8)),
        ),
        ethernet(0x86DD, ipv6(0, bytes((43, 0, *range(6), 17, 0, *range(6))) + udp(1, 2, payload))),
        ethernet(0x8100, bytes((0, 7, 8, 1)) + rng.randbytes(60), 5),
    ]
    chosen = rng.sample(whole, 3)
    short = ethernet(0x801, rng.randbytes(rng.randrange(30)))
    return [*chosen, short, chosen[0]]
