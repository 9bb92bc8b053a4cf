"""Encoding, decoding and text of every instruction: fixed examples, LLVM as judge, and properties."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyebpf.backend import insn as isa
from pyebpf.backend.assemble import AssemblyError, assemble
from pyebpf.backend.disassemble import disassemble, text
from pyebpf.backend.insn import (
    Alu,
    AtomicImm,
    CallKind,
    Class,
    Insn,
    InsnError,
    Jmp,
    Mode,
    Pseudo,
    Size,
    Source,
)

# Bytes from linux/bpf.h's layout, written by hand: opcode, dst|src<<4, offset, imm.
EXAMPLES = [
    ("r0 = 4", "b7 00 0000 04000000"),
    ("w1 = w2", "bc 21 0000 00000000"),
    ("r1 += -1", "07 01 0000 ffffffff"),
    ("r3 s/= r4", "3f 43 0100 00000000"),
    ("w3 s%= 7", "94 03 0100 07000000"),
    ("r5 s>>= 63", "c7 05 0000 3f000000"),
    ("r6 = -r6", "87 06 0000 00000000"),
    ("r1 = be16 r1", "dc 01 0000 10000000"),
    ("r1 = le64 r1", "d4 01 0000 40000000"),
    ("r1 = bswap32 r1", "d7 01 0000 20000000"),
    ("r2 = (s16)r3", "bf 32 1000 00000000"),
    ("w2 = (s8)w3", "bc 32 0800 00000000"),
    ("r0 = *(u16 *)(r1 + 12)", "69 10 0c00 00000000"),
    ("r0 = *(s32 *)(r10 - 8)", "81 a0 f8ff 00000000"),
    ("*(u8 *)(r10 - 1) = 7", "72 0a ffff 07000000"),
    ("*(u64 *)(r10 - 16) = r3", "7b 3a f0ff 00000000"),
    ("lock *(u64 *)(r1 + 0) += r2", "db 21 0000 00000000"),
    ("w2 = atomic_fetch_xor((u32 *)(r1 + 4), w2)", "c3 21 0400 a1000000"),
    ("r2 = xchg((u64 *)(r1 + 0), r2)", "db 21 0000 e1000000"),
    ("r0 = cmpxchg((u64 *)(r1 + 0), r0, r2)", "db 21 0000 f1000000"),
    ("r2 = load_acquire((u64 *)(r1 + 0))", "db 12 0000 00010000"),
    ("store_release((u8 *)(r1 + 0), w2)", "d3 21 0000 10010000"),
    ("if r1 > 7 goto +3", "25 01 0300 07000000"),
    ("if w1 s<= w2 goto -5", "de 21 fbff 00000000"),
    ("if r1 & 4 goto +1", "45 01 0100 04000000"),
    ("goto -2", "05 00 feff 00000000"),
    ("gotol +70000", "06 00 0000 70110100"),
    ("may_goto +1", "e5 00 0100 00000000"),
    ("call 5", "85 00 0000 05000000"),
    ("call pc+9", "85 10 0000 09000000"),
    ("call kfunc 1234 base 1", "85 20 0100 d2040000"),
    ("exit", "95 00 0000 00000000"),
    ("r1 = 0x1122334455667788 ll", "18 01 0000 88776655 00000000 44332211"),
    ("r1 = map_value(5, 16) ll", "18 21 0000 05000000 00000000 10000000"),
    ("r0 = *(u8 *)skb[23]", "30 00 0000 17000000"),
    ("r0 = *(u16 *)skb[r7 +2]", "48 70 0000 02000000"),
    ("r1 = addr_space_cast(r2, 0, 1)", "bf 21 0100 01000000"),
]


@pytest.mark.parametrize(("spelling", "code"), EXAMPLES, ids=[e[0] for e in EXAMPLES])
def test_examples(spelling: str, code: str) -> None:
    expected = bytes.fromhex(code.replace(" ", ""))
    (insn,) = assemble(spelling)
    assert isa.encode([insn]) == expected
    assert isa.decode(expected) == [insn]
    assert text(insn) == spelling


def test_big_endian_swaps_fields_and_register_nibbles() -> None:
    insns = assemble("r1 = *(u16 *)(r2 + 258)\nr3 = 0x0102030405060708 ll")
    assert isa.encode(insns, little_endian=False).hex(" ", 8) == (
        "6912010200000000 1830000005060708 0000000001020304"
    )
    assert isa.decode(isa.encode(insns, little_endian=False), little_endian=False) == insns


REFUSED = [
    ("95000000000000", "whole number"),
    ("1801000000000000", "second half"),
    ("18010000000000000100000000000000", "second half"),
    ("8d00000000000000", "unknown opcode"),
    ("0d00000000000000", "unknown opcode"),
    ("b70b000000000000", "no register r11"),
    ("9500010000000000", "OFFSET"),
    ("0f21000001000000", "IMM"),
    ("3f21020000000000", "no form"),
    ("bf21040000000000", "no form"),
    ("bc21200000000000", "no form"),
    ("dc01000008000000", "no form"),
    ("d321000000000000", "no form"),
    ("db21000002000000", "no form"),
    ("8530000000000000", "no form"),
    ("8500010000000000", "no form"),
]


@pytest.mark.parametrize(("code", "why"), REFUSED)
def test_malformed_code_is_refused(code: str, why: str) -> None:
    with pytest.raises(InsnError, match=why) as caught:
        isa.decode(bytes.fromhex("b700000000000000" + code))
    assert caught.value.slot >= 1


@pytest.mark.parametrize(
    "line",
    [
        "r11 = 1",
        "r1 = 4294967296",
        "r1 = w2",
        "r1 += w2",
        "r1 = -r2",
        "r1 = be16 r2",
        "frob",
        "if r1 > 7 goto 3",
        "*(u64 *)(r1 + 40000) = 1",
        "lock *(u32 *)(r1 + 0) += r2",
        "r2 = xchg((u64 *)(r1 + 0), r3)",
    ],
)
def test_assembler_refuses(line: str) -> None:
    with pytest.raises(AssemblyError, match="line 2"):
        assemble(f"exit\n{line}")


REGS = st.integers(0, 10)
IMMS = st.integers(-(1 << 31), (1 << 31) - 1)
OFFSETS = st.integers(-(1 << 15), (1 << 15) - 1)


@st.composite
def instructions(draw: st.DrawFn) -> Insn:
    """Any instruction of the set."""
    dst, src, offset, imm, wide = draw(REGS), draw(REGS), draw(OFFSETS), draw(IMMS), draw(st.booleans())
    source = draw(st.sampled_from(list(Source)))
    width = draw(st.sampled_from((1, 2, 4, 8)))
    match draw(st.integers(0, 11)):
        case 0:
            op = draw(st.sampled_from([a for a in Alu if a not in (Alu.NEG, Alu.END)]))
            signed = op in (Alu.DIV, Alu.MOD) and draw(st.booleans())
            reg = source is Source.X
            return Insn(
                isa.alu(op, source, wide=wide), dst, src if reg else 0, int(signed), 0 if reg else imm
            )
        case 1:
            return Insn(isa.alu(Alu.NEG, Source.K, wide=wide), dst)
        case 2:
            opcode = draw(st.sampled_from((isa.END_TO_BE, isa.END_TO_LE, isa.BSWAP)))
            return Insn(opcode, dst, imm=draw(st.sampled_from((16, 32, 64))))
        case 3:
            bits = draw(st.sampled_from((8, 16, 32) if wide else (8, 16)))
            return Insn(isa.alu(Alu.MOV, Source.X, wide=wide), dst, src, bits)
        case 4:
            return Insn(isa.ldx(width, signed=width < 8 and wide), dst, src, offset)
        case 5:
            return (
                Insn(isa.stx(width), dst, src, offset) if wide else Insn(isa.st(width), dst, 0, offset, imm)
            )
        case 6:
            return Insn(
                isa.atomic(8 if wide else 4), dst, src, offset, draw(st.sampled_from(list(AtomicImm)))
            )
        case 7:
            test = draw(st.sampled_from([j for j in Jmp if j not in (Jmp.JA, Jmp.CALL, Jmp.EXIT, Jmp.JCOND)]))
            reg = source is Source.X
            return Insn(isa.jump(test, source, wide=wide), dst, src if reg else 0, offset, 0 if reg else imm)
        case 8:
            kind = draw(st.sampled_from(list(CallKind)))
            return Insn(isa.CALL, 0, kind, offset if kind is CallKind.KFUNC else 0, imm)
        case 9:
            return Insn(
                isa.LD_IMM64, dst, draw(st.sampled_from(list(Pseudo))), 0, draw(st.integers(0, (1 << 64) - 1))
            )
        case 10:
            size = Size.of(draw(st.sampled_from((1, 2, 4))))
            mode = draw(st.sampled_from((Mode.ABS, Mode.IND)))
            return Insn(Class.LD | mode | size, 0, src if mode is Mode.IND else 0, 0, imm)
        case _:
            return draw(
                st.sampled_from(
                    (
                        Insn(isa.GOTO, offset=offset),
                        Insn(isa.GOTOL, imm=imm),
                        Insn(isa.MAY_GOTO, offset=offset),
                        Insn(isa.EXIT),
                    )
                )
            )


@given(st.lists(instructions(), max_size=20), st.booleans())
def test_bytes_and_text_round_trip(insns: list[Insn], little_endian: bool) -> None:
    assert isa.decode(isa.encode(insns, little_endian), little_endian) == insns
    assert assemble(disassemble(insns)) == insns


@given(st.binary(max_size=64))
def test_decode_never_fails_untyped(code: bytes) -> None:
    try:
        insns = isa.decode(code)
    except InsnError:
        return
    assert isa.encode(insns) == code


def _llvm_objdump() -> str | None:
    return next(
        (
            tool
            for n in ("", *(f"-{v}" for v in range(22, 13, -1)))
            if (tool := shutil.which(f"llvm-objdump{n}"))
        ),
        None,
    )


LLVM_TEXT = """\
r0 = 4
w1 = w2
r1 += -1
r5 s>>= 63
r6 = -r6
r1 = be16 r1
r0 = *(u16 *)(r1 + 12)
*(u64 *)(r10 - 16) = r3
if r1 > 7 goto +3
if w1 s<= w2 goto -5
goto -2
call 5
exit
r1 = 1234605616436508552 ll
"""


def test_llvm_reads_the_same(tmp_path: Path) -> None:
    """LLVM's disassembler agrees, on what clang 14 knows, up to its spelling of jumps and hexadecimal."""
    clang, objdump = shutil.which("clang") or shutil.which("clang-14"), _llvm_objdump()
    assert clang and objdump, "the tests need clang and llvm"
    source, built = tmp_path / "x.s", tmp_path / "x.o"
    source.write_text(".text\n" + LLVM_TEXT)
    subprocess.run([clang, "-target", "bpf", "-mcpu=v3", "-c", source, "-o", built], check=True)
    copy = tmp_path / "text.bin"
    objcopy = objdump.replace("objdump", "objcopy")
    subprocess.run([objcopy, "-O", "binary", "-j", ".text", built, copy], check=True)
    assert copy.read_bytes() == isa.encode(assemble(LLVM_TEXT))
