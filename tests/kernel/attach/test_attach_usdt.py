"""USDT: a program with probes is compiled, its notes are read, and programs that find arguments themselves are attached."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from pathlib import Path

import pytest

from pyebpf.backend.insn import Insn, ldx
from pyebpf.runtime.attach.link import LinkGroup
from pyebpf.runtime.attach.usdt import attach_usdt
from pyebpf.runtime.errors import TargetError
from pyebpf.runtime.usdt_notes import (
    ConstantArg,
    MemoryArg,
    RegisterArg,
    UnknownArg,
    UsdtSpec,
    parse_arguments,
    usdt_probes,
)
from pyebpf.uapi.constants import AttachType, ProgType
from tests.kernel.attach.programs import counting, loaded
from tests.kernel.attach.test_attach_perf import nothing_left
from tests.usdt_shop import build


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    yield build(tmp_path_factory.mktemp("usdt"))


def value_of(spec: UsdtSpec, number: int) -> list[Insn]:
    """Put an argument that is in a register or in memory relative to one into r8."""
    place = spec.arguments[number].place
    assert isinstance(place, RegisterArg)
    return [Insn(ldx(8), 8, 6, place.register.offset)]


def test_notes_are_read(shop: Path) -> None:
    probes = usdt_probes(shop)
    assert [(p.provider, p.name) for p in probes] == [
        ("shop", name) for name in ("sale", "sale", "idle", "stock", "vector")
    ]
    first, second, idle = probes[:3]
    assert [(a.size, a.signed) for a in first.arguments] == [(4, True), (8, False), (1, True)]
    assert isinstance(first.arguments[0].place, RegisterArg)
    assert first.arguments[0].place.register.size == 4
    assert first.arguments[2].place == ConstantArg(-7)
    assert isinstance(second.arguments[1].place, MemoryArg)
    assert idle.arguments == ()
    assert idle.semaphore == 0
    assert first.semaphore == second.semaphore > 0
    # where the probe is, the file has the instruction that does nothing
    contents = shop.read_bytes()
    assert [contents[p.offset] for p in probes] == [0x90] * 5
    assert usdt_probes(shop, name="id*") == [idle]
    assert usdt_probes(shop, provider="bank") == []


@pytest.mark.parametrize("attach_type", [None, AttachType.TRACE_UPROBE_MULTI])
def test_a_program_sees_the_arguments_and_raises_the_counter(
    shop: Path, attach_type: AttachType | None
) -> None:
    library = ctypes.CDLL(str(shop))
    first = usdt_probes(shop)[0]
    code = counting(cookie=True, value=value_of(first, 1))
    with loaded(ProgType.KPROBE, code, attach_type) as counter, nothing_left():
        assert library.enabled() == 0
        with attach_usdt(counter.program, shop, "shop", "sale", cookie=40) as link:
            assert isinstance(link, LinkGroup) == (attach_type is None)
            assert library.enabled() > 0
            library.work(ctypes.c_int(-5), ctypes.c_long(33))
            assert (counter.count, counter.cookie, counter.value) == (1, 40, 33)
            library.work(ctypes.c_int(-5), ctypes.c_long(2000))
            assert (counter.count, counter.cookie) == (3, 40)
        assert library.enabled() == 0
        library.work(ctypes.c_int(-5), ctypes.c_long(33))
        assert counter.count == 3


def test_a_probe_in_one_process(shop: Path) -> None:
    library = ctypes.CDLL(str(shop))
    with loaded(ProgType.KPROBE, counting()) as counter, nothing_left():
        with attach_usdt(counter.program, "libshop", "shop", "idle", pid=0):
            library.idle()
        assert counter.count == 1


def test_probes_are_checked(shop: Path) -> None:
    with loaded(ProgType.KPROBE, counting()) as counter, nothing_left():
        with pytest.raises(TargetError, match="the file has no such probe; did you mean shop:sale"):
            attach_usdt(counter.program, shop, "shop", "sail")
        with pytest.raises(TargetError, match="has no USDT probes"):
            attach_usdt(counter.program, "/usr/bin/env", "shop", "sale")
    with (
        loaded(ProgType.TRACEPOINT, counting()) as counter,
        pytest.raises(TypeError, match="a USDT probe takes KPROBE"),
    ):
        attach_usdt(counter.program, shop, "shop", "sale")


def shown(text: str, machine: str = "EM_X86_64") -> list[object]:
    """Arguments in few words."""
    found: list[object] = []
    for argument in parse_arguments(text, machine):
        size = -argument.size if argument.signed else argument.size
        match argument.place:
            case ConstantArg(value=value):
                found.append((size, value))
            case RegisterArg(register=register):
                found.append((size, register.name, register.offset))
            case MemoryArg(base=base, displacement=by, index=None):
                found.append((size, base.name, by))
            case MemoryArg(base=base, displacement=by, index=index, scale=scale):
                found.append((size, base.name, by, index.name if index else "", scale))
            case UnknownArg(text=unknown):
                found.append((size, f"?{unknown}"))
    return found


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", []),
        ("-4@%eax 8@%rdi", [(-4, "eax", 80), (8, "rdi", 112)]),
        ("8@-16(%rbp) 4@(%rsp)", [(8, "rbp", -16), (4, "rsp", 0)]),
        ("8@$3 -4@$-1 8@$0x10", [(8, 3), (-4, -1), (8, 16)]),
        ("4@8(%rax,%rdx,4)", [(4, "rax", 8, "rdx", 4)]),
        ("4@(%rax, %rdx)", [(4, "rax", 0, "rdx", 1)]),
        ("1@%ah 2@%r9w 1@%sil", [(1, "ah", 81), (2, "r9w", 64), (1, "sil", 104)]),
        ("8@name(%rip) 4@%eax", [(8, "?8@name(%rip)"), (4, "eax", 80)]),
        ("8f@%xmm0 16@%rax", [(8, "?8f@%xmm0"), (16, "?16@%rax")]),
        ("8@%xmm1", [(8, "?8@%xmm1")]),
        ("rubbish", [(8, "?rubbish")]),
    ],
)
def test_arguments_of_x86(text: str, expected: list[object]) -> None:
    assert shown(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("-4@w3 8@x29", [(-4, "w3", 24), (8, "x29", 232)]),
        ("8@[sp, 60] 4@[x19]", [(8, "sp", 60), (4, "x19", 0)]),
        ("8@[x1,-16] 4@[sp, #12]", [(8, "x1", -16), (4, "sp", 12)]),
        ("8@5 -4@-1 8@#7", [(8, 5), (-4, -1), (8, 7)]),
        ("8@[x1, x2] 8@[x1, x2, lsl #3]", [(8, "x1", 0, "x2", 1), (8, "x1", 0, "x2", 8)]),
        ("8@d0", [(8, "?8@d0")]),
    ],
)
def test_arguments_of_arm64(text: str, expected: list[object]) -> None:
    assert shown(text, "EM_AARCH64") == expected


def test_machines_without_known_registers_give_constants_only() -> None:
    assert shown("8@5 8@r3", "EM_S390") == [(8, 5), (8, "?8@r3")]
