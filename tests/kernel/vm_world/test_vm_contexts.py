"""Direct access to packets and contexts: the same code in the kernel and in the machine."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from pyebpf.backend.insn import EXIT, Alu, Class, Insn, Mode, Size, Source, alu, encode, ldx, st, stx
from pyebpf.object import ObjectSpec, ProgramSpec
from pyebpf.runtime.load import load
from pyebpf.runtime.run_result import RunResult
from pyebpf.runtime.vm.load import load as machine_load
from pyebpf.uapi.constants import ProgType
from pyebpf.uapi.contexts import SK_BUFF

FRAME = bytes(range(12)) + b"\x08\x00" + bytes(range(50))
NET, LINK = -0x100000, -0x200000
OFFSETS = [0, 1, 10, 14, 40, 46, 47, 48, 49, 50, 60, 61, 62, 63, 64, 1 << 30]
CLASSIC = [NET, NET + 3, NET + 46, NET + 47, NET + 48, NET + 50, NET - 1]
CLASSIC += [LINK, LINK + 12, LINK + 14, LINK + 60, LINK + 63, LINK - 1, -1, -4, -0x1000, -0x7FFF_FFFF]


def both(code: Sequence[Insn], prog_type: ProgType, ctx: bytes | None = None) -> tuple[int, bytes, bytes]:
    """Run code in both worlds; the verdict, packet and context that both must give."""
    made = ProgramSpec("test", encode(code), prog_type=prog_type, section="test")
    spec = ObjectSpec(programs={"test": made}, license="GPL")

    def told(result: RunResult) -> tuple[int, bytes, bytes]:
        return result.verdict, result.data, result.ctx

    with load(spec) as here, machine_load(spec) as there:
        kernel = told(here.programs["test"].run(FRAME, ctx=ctx))
        assert kernel == told(there.programs["test"].run(FRAME, ctx=ctx))
    return kernel


@pytest.mark.parametrize("prog_type", [ProgType.SOCKET_FILTER, ProgType.SCHED_CLS])
@pytest.mark.parametrize("size", [Size.B, Size.H, Size.W])
def test_classic_loads_at_any_offset(prog_type: ProgType, size: Size) -> None:
    found = set()
    for offset in OFFSETS + CLASSIC:
        keep = Insn(alu(Alu.MOV, Source.X), 6, 1)
        absolute = Insn(Class.LD | Mode.ABS | size, imm=offset)
        found.add(both([keep, absolute, Insn(EXIT)], prog_type)[0])
        index = Insn(alu(Alu.MOV, Source.K), 7, imm=offset)
        indirect = Insn(Class.LD | Mode.IND | size, src=7)
        both([keep, index, indirect, Insn(EXIT)], prog_type)
    assert len(found) > 8


def field(name: str) -> tuple[int, int]:
    found = SK_BUFF.field(name)
    assert found is not None
    return found.offset, found.size


@pytest.mark.parametrize("name", ["mark", "priority", "queue_mapping", "tc_index", "tc_classid", "tstamp"])
def test_what_is_stored_in_a_field_reads_back_as_the_kernel_keeps_it(name: str) -> None:
    offset, width = field(name)
    load_back = Insn(ldx(width), 0, 1, offset)
    for value in (0, 1, 0x1234, 0xFFFE, 0xFFFF, 0x10000, 0x12345, 0x7FFF_FFFF, -1):
        put = Insn(alu(Alu.MOV, Source.K), 7, imm=value)
        both([put, Insn(stx(width), 1, 7, offset), load_back, Insn(EXIT)], ProgType.SCHED_CLS, bytes(192))
        both([Insn(st(width), 1, offset=offset, imm=value), load_back, Insn(EXIT)], ProgType.SCHED_CLS)


def test_the_control_block_is_bytes() -> None:
    offset, _ = field("cb")
    code = [
        Insn(st(width), 1, offset=offset + at, imm=at + 1) for at, width in ((0, 1), (2, 2), (4, 4), (8, 8))
    ]
    ctx = both([*code, Insn(ldx(4), 0, 1, offset), Insn(EXIT)], ProgType.SCHED_CLS, bytes(192))[2]
    assert ctx[offset : offset + 20] == bytes.fromhex("01000300050000000900000000000000") + bytes(4)
