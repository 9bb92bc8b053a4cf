"""Builds both sides of each idiom, sees that they do the same, and counts their instructions."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from benchmarks.build import BuildError, Clang, compile_c
from benchmarks.cases import Case
from benchmarks.effects import Effects, differences, effects_of
from benchmarks.packets import ARP_REQUEST, TCP4, TCP6, UDP4
from pyebpf.backend.elf import read_object
from pyebpf.cli import import_file, programs_of
from pyebpf.driver import compile_programs, running_target
from pyebpf.object import ObjectSpec
from pyebpf.runtime.linker import link

FOLDER: Final = Path(__file__).parent
PACKETS: Final = {
    "udp": UDP4,
    "tcp": TCP4,
    "tcp over ipv6": TCP6,
    "arp": ARP_REQUEST,
    "to port 53": UDP4[:36] + b"\0\x35" + UDP4[38:],
    "index 9": b"\x09" + UDP4[1:],
    "index 10": b"\x0a" + UDP4[1:],
    "index 47": b"\x2f" + UDP4[1:],
    "index 48": b"\x30" + UDP4[1:],
    "index 58": b"\x3a" + UDP4[1:],
    "cut": UDP4[:36],
}
FILLED: Final = {
    "counts": {bytes(4): bytes(8)},
    "pairs": {bytes(4): bytes(16)},
    "tables": {bytes(4): bytes(8 * 48)},
    "keyed": {b"\x35\0\0\0\x07\0\0\0": bytes(8)},
}
"""What the maps hold before, as the kernel's bytes on a little-endian machine."""


@dataclass(frozen=True, slots=True)
class Idiom:
    """The instructions of one program with all functions that it calls."""

    name: str
    ours: int
    clang: int


def compare(clang: Clang) -> list[Idiom]:
    """Every idiom. Raises ``BuildError`` where the two sides do not return the same for a packet."""
    theirs = read_object(compile_c(FOLDER / "idioms.bpf.c", clang), "idioms.bpf.o")
    programs = programs_of(import_file(FOLDER / "idioms.py"))
    found: list[Idiom] = []
    for program in programs:
        ours = compile_programs([program], running_target()).object
        differing = list(differences(*common(effects(ours, program.name), effects(theirs, program.name))))
        if differing:
            raise BuildError(f"{program.name}: pyebpf's program and clang's differ: {'; '.join(differing)}")
        found.append(Idiom(program.name, length(ours, program.name), length(theirs, program.name)))
    return found


def length(spec: ObjectSpec, name: str) -> int:
    """Slots of 8 bytes."""
    return len(link(spec, spec.programs[name]).code) // 8


def effects(spec: ObjectSpec, name: str) -> Effects:
    """What a program does with each packet, one after the other."""
    maps = {map_: elements for map_, elements in FILLED.items() if map_ in spec.maps}
    return effects_of(Case("idioms", PACKETS, (), entry=name, maps=maps), spec)


def common(one: Effects, other: Effects) -> tuple[Effects, Effects]:
    """Without the maps and variables that only one of the objects has: clang's has those of all idioms."""
    maps, variables = one.maps.keys() & other.maps.keys(), one.variables.keys() & other.variables.keys()
    first, second = (
        Effects(e.runs, {m: e.maps[m] for m in maps}, {v: e.variables[v] for v in variables})
        for e in (one, other)
    )
    return first, second
