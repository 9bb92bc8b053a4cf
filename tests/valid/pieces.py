"""The table of pieces that programs are made of, and the small ones that all others use inside of their blocks."""

from __future__ import annotations

from collections.abc import Callable

from tests.valid.writer import Writer

Piece = Callable[[Writer], None]

PIECES: dict[str, Piece] = {}
"""What a program may do after its headers are read, by name; filled by the modules of the subjects."""


def piece(function: Piece) -> Piece:
    """Register a piece under its own name."""
    PIECES[function.__name__] = function
    return function


def note(w: Writer) -> None:
    """A statement that leaves something behind: a counter in a map or a variable."""
    text, hi = w.number()
    way = w.rng.randrange(6)
    if way == 0:
        total = w.declare("total", "bpf.Global[u64](0)")
        w.emit(f"{total}.value += {text}")
    elif way == 1:
        hits = w.declare("hits", "bpf.ArrayMap[u32, u64](max_entries=64)")
        w.emit(f"{hits}[{w.index(64)}] += {w.pick('1', text)}")
    elif way == 2:
        seen = w.declare("seen", "bpf.HashMap[u32, u64](max_entries=512, default=0)")
        w.emit(f"{seen}[{text} & 255] += 1")
    elif way == 3:
        local = w.declare("local", "bpf.PerCpuArray[u32, u64](max_entries=16)")
        w.emit(f"{local}[{w.index(16)}] += {text}")
    elif way == 4:
        last = w.declare("last", "bpf.Global[u32](7)")
        w.emit(f"{last}.value = {text if hi < 1 << 32 else f'u32({text})'}")
    else:
        flags = w.declare("flags", "bpf.ArrayMap[u32, u32](max_entries=8)")
        w.emit(f"{flags}[{w.index(8)}] {w.pick('|', '^', '&')}= {w.pick('1', '0x80', f'{text} & 0xFFFF')}")


def notes(w: Writer, most: int = 2) -> None:
    """One or some of these, perhaps under a condition."""
    for _ in range(w.rng.randint(1, most)):
        if w.chance(25):
            with w.block(f"if {w.condition()}:"):
                note(w)
        else:
            note(w)
