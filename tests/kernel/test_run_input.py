"""What ``run`` and ``attach`` are given by mistake: the kernel and the built-in machine say the same about it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import pytest

import pyebpf as bpf
from pyebpf import BpfError

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="loading programs needs root")


@bpf.socket_filter(on_error=bpf.KEEP)
def keep(skb: bpf.SkBuff) -> int:
    """Keep all."""
    return len(skb)


@pytest.fixture(autouse=True)
def unloaded() -> Iterator[None]:
    yield
    keep.close()


@pytest.mark.parametrize("machine", [False, True])
@pytest.mark.parametrize("data", ["x" * 64, None, 64, [1] * 64])
def test_data_that_is_no_bytes(data: Any, machine: bool) -> None:
    with pytest.raises(TypeError, match=f"bytes wanted, not {type(data).__name__}"):
        keep.run(data, machine=machine)


@pytest.mark.parametrize("machine", [False, True])
def test_a_context_that_is_no_bytes(machine: bool) -> None:
    context: Any = "x" * 192
    with pytest.raises(TypeError, match="context of a test run: bytes wanted, not str"):
        keep.run(bytes(64), context=context, machine=machine)


@pytest.mark.parametrize("machine", [False, True])
@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_whatever_holds_bytes(kind: Any, machine: bool) -> None:
    assert keep.run(kind(bytes(64)), machine=machine).verdict == 50


@pytest.mark.parametrize("machine", [False, True])
def test_the_longest_frame(machine: bool) -> None:
    """The number is the kernel's: a frame of one byte less is taken."""
    with pytest.raises(BpfError) as caught:
        keep.run(bytes(65536), machine=machine)
    told = caught.value.detail
    assert told.startswith("a test run takes frames of 14 to ") and told.endswith(" bytes, not 65536")
    longest = int(told.split()[8])
    assert keep.run(bytes(longest), machine=machine).verdict == longest - 14
    with pytest.raises(BpfError):
        keep.run(bytes(longest + 1), machine=machine)


@pytest.mark.parametrize("wanted", [None, "lo", 3])
def test_what_is_no_socket(wanted: Any) -> None:
    with pytest.raises(TypeError, match=f"keep.attach: a socket is wanted, not {type(wanted).__name__}"):
        keep.attach(wanted)
