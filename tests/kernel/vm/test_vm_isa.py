"""Every instruction form of the set, on random operands: the built-in machine against the kernel's JIT."""

from __future__ import annotations

import os
import random
import struct

import pytest

from pyebpf.backend import insn as isa
from pyebpf.backend.insn import Alu, AtomicImm, Insn, Jmp, Source
from tests.kernel.vm.both import EXIT, IMMEDIATES, Code, both, copy, mov, operand, spec

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="loading programs needs root")

ROUNDS = 60
_PLAIN = [op for op in Alu if op not in (Alu.NEG, Alu.END)]
_JUMPS = [op for op in Jmp if op not in (Jmp.JA, Jmp.CALL, Jmp.EXIT, Jmp.JCOND)]
_ORDERED = (AtomicImm.LOAD_ACQUIRE, AtomicImm.STORE_RELEASE)


def _alu_forms() -> dict[str, list[Insn]]:
    """By name; r1 is dst, r2 src."""
    forms: dict[str, list[Insn]] = {}
    for wide in (False, True):
        bits = 64 if wide else 32
        for op in _PLAIN:
            signs = (0, 1) if op in (Alu.DIV, Alu.MOD) else (0,)
            for sign in signs:
                name = f"{'s' * sign}{op.name.lower()}{bits}"
                forms[f"{name}-register"] = [Insn(isa.alu(op, Source.X, wide=wide), 1, 2, sign)]
                shift = op in (Alu.LSH, Alu.RSH, Alu.ARSH)
                imms = [i % bits for i in IMMEDIATES] if shift else list(IMMEDIATES)
                imms = [i for i in imms if i or op not in (Alu.DIV, Alu.MOD)]
                forms[f"{name}-constant"] = [
                    Insn(isa.alu(op, Source.K, wide=wide), 1, 0, sign, imm) for imm in imms
                ]
        forms[f"neg{bits}"] = [Insn(isa.alu(Alu.NEG, Source.K, wide=wide), 1)]
        for size in (8, 16, 32) if wide else (8, 16):
            forms[f"movsx{size}-{bits}"] = [Insn(isa.alu(Alu.MOV, Source.X, wide=wide), 1, 2, size)]
    for size in (16, 32, 64):
        forms[f"le{size}"] = [Insn(isa.END_TO_LE, 1, imm=size)]
        forms[f"be{size}"] = [Insn(isa.END_TO_BE, 1, imm=size)]
        forms[f"bswap{size}"] = [Insn(isa.BSWAP, 1, imm=size)]
    return forms


_FORMS = _alu_forms()


def _inputs(seed: str) -> list[bytes]:
    rng = random.Random(seed)
    return [struct.pack("<QQQ", operand(rng), operand(rng), operand(rng)) for _ in range(ROUNDS)]


@pytest.mark.parametrize("name", _FORMS)
def test_arithmetic(name: str) -> None:
    code = Code()
    code.data(9)
    for index, insn in enumerate(_FORMS[name]):
        # Operands of known ranges take other ways through the translator than those of 64 unknown bits.
        for part, (a, b) in enumerate([(8, 8), (4, 8), (2, 1)]):
            code.load(1, 9, 0, a)
            code.load(2, 9, 8, b)
            code.add(insn)
            code.store(9, 64 + (index * 3 + part) * 8, 1)
    code.add(mov(0, 0), EXIT)
    with both(spec(code, len(_FORMS[name]) * 24)) as pair:
        for data in _inputs(name):
            pair.run(data)


@pytest.mark.parametrize("wide", [True, False], ids=["64", "32"])
@pytest.mark.parametrize("op", _JUMPS, ids=lambda op: op.name)
def test_conditional_jumps(op: Jmp, wide: bool) -> None:
    jumps = [Insn(isa.jump(op, Source.X, wide=wide), 1, 2, 2)]
    jumps += [Insn(isa.jump(op, Source.K, wide=wide), 1, 0, 2, imm) for imm in IMMEDIATES]
    code = Code()
    code.data(9)
    for index, insn in enumerate(jumps):
        for part, width in enumerate((8, 4, 1)):
            code.load(1, 9, 0, width)
            code.load(2, 9, 8, width)
            code.add(mov(3, 1), insn, mov(3, 2), Insn(isa.alu(Alu.ADD, Source.K), 3, imm=5))
            code.store(9, 64 + index * 3 + part, 3, 1)
    code.add(mov(0, 0), EXIT)
    rng = random.Random(f"{op}{wide}")
    with both(spec(code, len(jumps) * 3)) as pair:
        for _ in range(ROUNDS):
            a = operand(rng)
            b = a if rng.random() < 0.3 else operand(rng)
            imm = rng.choice(IMMEDIATES) & 0xFFFF_FFFF_FFFF_FFFF
            pair.run(struct.pack("<QQ", rng.choice([a, imm]), b))


@pytest.mark.parametrize("width", [1, 2, 4, 8])
def test_loads_and_stores(width: int) -> None:
    code = Code()
    code.data(9)
    for at in range(9):  # unaligned places too
        code.load(1, 9, at, width)
        code.store(9, 64 + at * 32, 1, 8)
        if width < 8:
            code.add(Insn(isa.ldx(width, signed=True), 1, 9, at))
            code.store(9, 72 + at * 32, 1, 8)
        code.load(1, 9, 0, 8)
        code.store(9, 80 + at * 32, 1, width)
        code.add(Insn(isa.st(width), 9, 0, 88 + at * 32, -2 - at))
        # the same on the frame
        if at % 8 == 0:
            code.store(10, -32 + at, 1, 8)
    for at in range(0, 8, width):
        code.load(2, 10, -32 + at, width)
        code.store(10, -8, 2, 8)
        code.add(Insn(isa.st(width), 10, 0, -8, at - 3))
        code.load(2, 10, -8, 8)
        code.store(9, 64 + 288 + at * 8, 2, 8)
    code.add(mov(0, 0), EXIT)
    with both(spec(code, 288 + 64)) as pair:
        for data in _inputs(str(width)):
            pair.run(data)


def _atomic_forms() -> list[tuple[AtomicImm, int]]:
    forms = [(imm, width) for imm in AtomicImm for width in (4, 8) if imm not in _ORDERED]
    return forms + [(imm, width) for imm in _ORDERED for width in (1, 2, 4, 8)]


@pytest.mark.parametrize(("imm", "width"), _atomic_forms(), ids=lambda v: getattr(v, "name", v))
@pytest.mark.parametrize("place", ["data", "frame"])
def test_atomics(imm: AtomicImm, width: int, place: str) -> None:
    code = Code()
    code.data(9)
    code.load(3, 9, 0)
    if place == "data":
        code.add(copy(8, 9))
    else:
        code.add(copy(8, 10), Insn(isa.alu(Alu.ADD, Source.K), 8, imm=-16))
    offset = 64 if place == "data" else 0
    code.store(8, offset, 3)
    code.load(1, 9, 8)
    code.load(0, 9, 16)
    dst, src = (1, 8) if imm is AtomicImm.LOAD_ACQUIRE else (8, 1)
    code.add(Insn(isa.atomic(width), dst, src, offset, imm))
    code.store(9, 72, 0)
    code.store(9, 80, 1)
    code.load(2, 8, offset)
    code.store(9, 88, 2)
    code.add(mov(0, 0), EXIT)
    rng = random.Random(f"{imm}{width}")
    with both(spec(code, 32)) as pair:
        for _ in range(ROUNDS):
            a = operand(rng)
            # Half of the comparisons hold, some of them in the low 32 bits only.
            compared = rng.choice([a, a ^ 1 << 40, operand(rng)])
            pair.run(struct.pack("<QQQ", a, operand(rng), compared))


def test_wide_constants_and_long_jumps() -> None:
    code = Code()
    code.data(9)
    for index, number in enumerate((0, 1, 0xFFFF_FFFF, 0x8000_0000_0000_0000, 0x1234_5678_9ABC_DEF0)):
        code.add(Insn(isa.LD_IMM64, 1, imm=number))
        code.add(*[Insn(isa.GOTOL, imm=distance) for distance in (1, 1, -2)])  # forward, backward, forward
        code.store(9, 64 + index * 8, 1)
    code.add(mov(0, -7), EXIT)
    with both(spec(code, 40)) as pair:
        verdict, output = pair.run(b"")
    assert struct.unpack("<5Q", output)[4] == 0x1234_5678_9ABC_DEF0
    assert verdict == -7


@pytest.mark.parametrize("width", [1, 2, 4])
@pytest.mark.parametrize("indirect", [False, True])
def test_loads_from_the_packet(width: int, indirect: bool) -> None:
    size = isa.Size.of(width)
    frame = bytes(range(100, 164))
    for offset in (0, 1, 7, 46, 47, 48, 49, 50, 51, 200, -0x100000, -0x200000 + 12, -0x200000 + 14, -5):
        code = Code()
        code.data(9)
        code.add(copy(6, 1), mov(7, offset))
        mode = isa.Mode.IND if indirect else isa.Mode.ABS
        opcode = isa.Class.LD | mode | size
        code.add(Insn(opcode, src=7 if indirect else 0, imm=0 if indirect else offset))
        code.store(9, 64, 0)
        code.add(mov(0, 1), EXIT)
        with both(spec(code)) as pair:
            pair.run(b"", frame)
