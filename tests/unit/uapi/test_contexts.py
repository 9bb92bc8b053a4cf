"""Every field of the contexts, for every program type and width, read and written, asked of the running
kernel."""

from __future__ import annotations

import platform
import struct
from collections.abc import Callable

import pytest

from pyebpf.uapi.constants import AttachType, ProgType
from pyebpf.uapi.contexts import CONTEXTS, SK_BUFF, XDP_MD, Context, ContextField, FieldKind

Load = Callable[..., str | None]

PROGRAMS: dict[str, tuple[ProgType, ...]] = {
    "__sk_buff": (
        ProgType.SOCKET_FILTER,
        ProgType.SCHED_CLS,
        ProgType.SCHED_ACT,
        ProgType.SK_SKB,
        ProgType.CGROUP_SKB,
        ProgType.LWT_IN,
        ProgType.LWT_OUT,
        ProgType.LWT_XMIT,
        ProgType.LWT_SEG6LOCAL,
        ProgType.FLOW_DISSECTOR,
    ),
    "xdp_md": (ProgType.XDP,),
}
SIZES = {1: 0x10, 2: 0x08, 4: 0x00, 8: 0x18}  # BPF_B, BPF_H, BPF_W, BPF_DW
RUNNING = (
    tuple(int(part) for part in platform.release().split(".")[:2]) if platform.system() == "Linux" else (0, 0)
)


def insn(code: int, dst: int = 0, src: int = 0, off: int = 0, imm: int = 0) -> bytes:
    return struct.pack("=BBhi", code, src << 4 | dst, off, imm)


def read(offset: int, width: int) -> bytes:
    """``r0 = *(width *)(r1 + offset); r0 = 0; exit``."""
    return insn(0x61 | SIZES[width], 0, 1, offset) + insn(0xB7) + insn(0x95)


def write(offset: int, width: int) -> bytes:
    """``r2 = 0; *(width *)(r1 + offset) = r2; r0 = 0; exit``."""
    return insn(0xB7, 2) + insn(0x63 | SIZES[width], 1, 2, offset) + insn(0xB7) + insn(0x95)


CASES = [
    pytest.param(context, prog_type, id=f"{context.name}-{prog_type.name.lower()}")
    for context in CONTEXTS
    for prog_type in PROGRAMS[context.name]
]


@pytest.mark.parametrize(("context", "prog_type"), CASES)
def test_accesses_are_those_of_the_kernel(context: Context, prog_type: ProgType, load_program: Load) -> None:
    wrong = []
    for field in context.fields:
        if field.since > RUNNING:
            continue
        attach_type = next(iter(field.attach_types), AttachType(0))
        for width in SIZES:
            for offset in range(field.offset, field.offset + field.total_size, width):
                may_read = field.readable(prog_type) and width in field.read_widths and offset % width == 0
                may_write = field.writable(prog_type) and width in field.write_widths and offset % width == 0
                # An access may not leave the field, except in an array that has room for it.
                fits = offset + width <= field.offset + field.total_size
                for verb, code, expected in (("read", read, may_read), ("write", write, may_write)):
                    log = load_program(prog_type, code(offset, width), attach_type)
                    if (log is None) != (expected and fits):
                        wrong.append(
                            f"{verb} {field.name}+{offset - field.offset} width {width}: {log or 'accepted'}"
                        )
    assert not wrong, "\n".join(wrong)


def test_a_field_for_some_attach_types_is_refused_for_others(load_program: Load) -> None:
    fields = [field for context in CONTEXTS for field in context.fields if field.attach_types]
    assert [field.name for field in fields] == ["egress_ifindex"]
    for field in fields:
        log = load_program(ProgType.XDP, read(field.offset, 4), AttachType.XDP)
        assert log is not None and "invalid bpf_context access" in log


def test_kinds_are_those_of_the_verifier(load_program: Load) -> None:
    """The type that the verifier gives a loaded field stands in its log: make it print the register."""
    names = {
        FieldKind.SCALAR: "scalar",
        FieldKind.PACKET: "pkt",
        FieldKind.PACKET_META: "pkt_meta",
        FieldKind.PACKET_END: "pkt_end",
        FieldKind.SOCK_COMMON: "sock_common_or_null",
        FieldKind.FLOW_KEYS: "flow_keys",
    }
    for context in CONTEXTS:
        for field in context.fields:
            prog_type = min(field.read)
            width = max(field.read_widths & {1, 2, 4, field.size})
            attach_type = next(iter(field.attach_types), AttachType(0))
            # Multiplying a pointer, and leaving without a result after an integer, are refused with a log.
            code = insn(0x61 | SIZES[width], 2, 1, field.offset) + insn(0x27, 2, 0, 0, 3) + insn(0x95)
            log = load_program(prog_type, code, attach_type)
            assert log is not None
            loaded = next(line for line in log.splitlines() if "R2_w=" in line or "R2=" in line)
            found = loaded.split("R2_w=" if "R2_w=" in loaded else "R2=")[1].split("(")[0].split(" ")[0]
            assert found == names[field.kind], (field.name, prog_type.name, loaded)


@pytest.mark.parametrize("context", CONTEXTS, ids=lambda context: context.name)
def test_layout(context: Context) -> None:
    end = 0
    for field in context.fields:
        assert end <= field.offset and field.offset % field.size == 0, field.name
        end = field.offset + field.total_size
        assert field.write <= field.read and field.read, field.name
    assert end == context.size
    assert len({field.name for field in context.fields}) == len(context.fields)


def test_lookup() -> None:
    cb = SK_BUFF.field("cb")
    assert isinstance(cb, ContextField) and (cb.offset, cb.length, cb.total_size) == (48, 5, 20)
    assert XDP_MD.field("data") is XDP_MD.fields[0] and XDP_MD.field("len") is None
    sk = SK_BUFF.field("sk")
    assert sk is not None and sk.nullable
