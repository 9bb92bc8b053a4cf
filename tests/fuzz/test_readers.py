"""Whatever bytes they get, the readers answer with an object or with their own exceptions, and soon.

More of them: ``python -m tests.fuzz.readers --count 200000``.
"""

from __future__ import annotations

import contextlib
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pyebpf import btf
from pyebpf.backend.elf import ElfError, describe_object, read_object, write_object
from tests.fuzz import mutations
from tests.fuzz.readers import Answer, Level, objects, read_series, record_sections, type_sections
from tests.unit.elf.samples import minimal

SERIES = 1000


@pytest.mark.parametrize("series", range(6))
def test_mutated_inputs(series: int) -> None:
    tally = read_series(range(series * SERIES, (series + 1) * SERIES))
    assert not tally.failures, f"input {tally.failures[0][0]}\n{tally.failures[0][1]}"
    for level in Level:  # both outcomes are exercised
        assert tally.answers[level, Answer.READ] > SERIES // 50
        assert tally.answers[level, Answer.REFUSED] > SERIES // 10


def test_what_mutations_start_from_is_read() -> None:
    for data in objects():
        read_object(data)
    for data in type_sections():
        btf.Spec(data).build_all()
    for data, types in record_sections():
        btf.decode_ext(data, types)


@pytest.mark.parametrize("mutation", dict.fromkeys((*mutations.ELF, *mutations.TYPES, *mutations.RECORDS)))
def test_mutations_stand_any_input(mutation: mutations.Mutation) -> None:
    """They are given what others have mutated, down to nothing; and they do change what is whole."""
    choose, changed = random.Random(1), 0
    for data in (*objects()[:4], type_sections()[0], record_sections()[0][0], b"", b"\x7f", b"\x9f\xeb\1\0"):
        for _ in range(20):
            mutant = bytearray(data)
            mutation(mutant, choose)
            changed += mutant != data
    assert changed > 60


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
