"""Damaged executables: the reader of symbols and probes gives what it finds or a typed error, nothing else."""

from __future__ import annotations

import os
import random
import struct
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

from pyebpf.runtime.elf_symbols import Binary
from pyebpf.runtime.errors import BpfError, TargetError
from pyebpf.runtime.usdt_notes import _descriptions, usdt_probes

SAMPLE = Path("/usr/bin/env")
DAMAGES = 150


@pytest.mark.skipif(not SAMPLE.exists(), reason="no /usr/bin/env to damage")
@pytest.mark.parametrize("seed", range(4))
def test_a_damaged_file_is_refused_or_read(seed: int, tmp_path: Path) -> None:
    chance = random.Random(seed)
    whole = SAMPLE.read_bytes()
    sections = struct.unpack_from("<Q", whole, 40)[0] if sys.byteorder == "little" else 64
    path = tmp_path / "damaged"
    outcomes = set()
    for number in range(DAMAGES):
        data = bytearray(whole)
        for _ in range(chance.randint(1, 6)):
            # headers of the file, of segments and of sections are where it matters
            start, end = chance.choice([(4, 64), (64, 800), (sections, len(data)), (0, len(data))])
            data[chance.randrange(start, end)] = chance.choice(
                [0, 1, 0x7F, 0x80, 0xFF, chance.randrange(256)]
            )
        if chance.random() < 0.2:
            del data[chance.randrange(len(data)) :]
        path.write_bytes(data)
        try:
            binary = Binary(path)
            binary.at(chance.randrange(2**32))
            binary.file_offset(chance.randrange(2**64))
            usdt_probes(path)
            try:
                binary.find("malloc")
            except TargetError:
                outcomes.add("no such function")
            outcomes.add("read")
        except BpfError as refused:
            assert refused.errno
            outcomes.add("refused")
        os.utime(path, (number, number))
    assert {"read", "refused"} <= outcomes


@settings(max_examples=300, deadline=None)
@given(some.binary(max_size=200), some.sampled_from("<>"))
def test_any_bytes_are_notes_or_none(data: bytes, order: str) -> None:
    note = struct.pack(f"{order}III", 8, len(data), 3) + b"stapsdt\0" + data + bytes(-len(data) % 4)
    assert list(_descriptions(note, order)) == [data]
    assert all(len(found) <= len(data) for found in _descriptions(data, order))
