"""Whatever bytes they get, the readers answer with an object or with their own exceptions, and soon."""

from __future__ import annotations

import contextlib
import random
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pyebpf import btf
from pyebpf.backend.elf import ElfError, describe_object, read_object, write_object
from pyebpf.backend.elf_file import parse
from tests.unit.btf.samples import every_kind
from tests.unit.elf.clang import SOURCES, compile_c
from tests.unit.elf.samples import externs, full, minimal, tables

SECONDS = 2.0
ROUNDS = 2000
NUMBERS = (
    0,
    1,
    2,
    7,
    8,
    255,
    256,
    0x7FFF,
    0xFFFF,
    1 << 20,
    0x7FFF_FFFF,
    0x8000_0000,
    0xFFFF_FFFF,
    (1 << 64) - 1,
)


def mutate(data: bytes, choose: random.Random) -> bytes:
    """``data`` cut off, or with some bytes or numbers changed."""
    if choose.random() < 0.1:
        return data[: choose.randrange(len(data))]
    changed = bytearray(data)
    for _ in range(choose.choice((1, 1, 2, 4, 16))):
        at = choose.randrange(len(changed))
        if choose.random() < 0.5:
            width = choose.choice((1, 2, 4, 8))
            value = choose.choice(NUMBERS) % (1 << 8 * width)
            changed[at : at + width] = value.to_bytes(width, "little")
        else:
            changed[at] = choose.randrange(256)
    return bytes(changed)


def objects() -> list[bytes]:
    """Objects of ours and, where there is a compiler, of clang."""
    ours = [write_object(sample()) for sample in (minimal, full, tables, externs)]
    with contextlib.suppress(pytest.skip.Exception):
        ours += [compile_c(name) for name in SOURCES]
    return ours


def test_mutated_objects() -> None:
    choose, samples, accepted = random.Random(1), objects(), 0
    for _ in range(ROUNDS):
        data = mutate(choose.choice(samples), choose)
        start = time.perf_counter()
        try:
            read_object(data, "mutated.o")
            accepted += 1
        except ElfError as error:
            assert str(error).startswith("mutated.o: ")
        assert time.perf_counter() - start < SECONDS
    assert ROUNDS // 10 < accepted < ROUNDS  # both outcomes are exercised


def test_mutated_types() -> None:
    choose, refused = random.Random(2), 0
    samples = [btf.encode(every_kind()).data]
    samples += [s.data for data in objects() for s in parse(data).sections if s.name == ".BTF"]
    for _ in range(ROUNDS):
        data = mutate(choose.choice(samples), choose)
        try:
            spec = btf.Spec(data)
            for type_ in spec.build_all():
                btf.layout_of(type_)
            btf.dump(spec)
        except btf.BtfError:
            refused += 1
    assert 0 < refused < ROUNDS


def test_mutated_records() -> None:
    choose, refused = random.Random(3), 0
    samples = [{s.name: s.data for s in parse(data).sections} for data in objects()]
    for _ in range(ROUNDS):
        sections = choose.choice(samples)
        try:
            btf.decode_ext(mutate(sections[".BTF.ext"], choose), btf.Spec(sections[".BTF"]))
        except btf.BtfError:
            refused += 1
    assert 0 < refused < ROUNDS


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=400))
def test_any_bytes(data: bytes) -> None:
    for prefix in (b"", b"\x7fELF\2\1\1", write_object(minimal())[:64]):
        with contextlib.suppress(ElfError):
            read_object(prefix + data)
        with contextlib.suppress(ElfError):
            describe_object(prefix + data)
    for prefix in (b"", btf.encode([btf.U32]).data[:24]):
        with contextlib.suppress(btf.BtfError):
            btf.decode(prefix + data)
