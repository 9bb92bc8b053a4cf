"""Scratch memory on the kernel: nobody sees another activation's, all of it is given back, and none is left over."""

from __future__ import annotations

import os
import socket

import pytest

import pyebpf as bpf
from pyebpf import u8, u32, u64
from pyebpf.declare import ProgramDecl, declaration_of
from pyebpf.driver import compile_programs
from pyebpf.runtime.load import LoadedObject, load
from pyebpf.runtime.maps import MappingMap
from tests.kernel.runtime.places import Veth, veth_pair

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="loading programs needs root")

bpf.license("GPL")

DEPTH = 4


@bpf.struct
class Plain:
    words: list[u64] = bpf.array(u64, 100)


plain = bpf.PerCpuArray[u32, Plain](max_entries=1)
interface = bpf.Global[u32](0)
depth = bpf.Global[u64](0)
entered = bpf.Global[u64](0)
wrong = bpf.Global[u64](0)


@bpf.tc
def nested(skb: bpf.SkBuff) -> int:
    """Enters itself again between filling its array and looking at it."""
    words = bpf.array(u64, 100)
    at = depth.value
    depth.value += 1
    entered.value += 1
    for i in range(100):
        words[i] = 1000 * at + i
    if at < DEPTH:
        bpf.clone_redirect(skb, interface.value, 0)
    for i in range(100):
        if words[i] != 1000 * at + i:
            wrong.value += 1
    depth.value -= 1
    return bpf.TC_ACT_OK


@bpf.tc
def nested_plainly(skb: bpf.SkBuff) -> int:
    """The same with one value of a per-CPU map for all: shows that ``nested`` would find a mistake."""
    mine = plain[0]
    at = depth.value
    depth.value += 1
    entered.value += 1
    for i in range(100):
        mine.words[i] = 1000 * at + i
    if at < DEPTH:
        bpf.clone_redirect(skb, interface.value, 0)
    for i in range(100):
        if mine.words[i] != 1000 * at + i:
            wrong.value += 1
    depth.value -= 1
    return bpf.TC_ACT_OK


def send_through(net: Veth, program: bpf.TcProgram) -> None:
    """One packet out of veth0, where ``program`` is."""
    interface.value = net.in_near(lambda: socket.if_nametoindex("veth0"))
    entered.value = wrong.value = depth.value = 0
    with net.in_near(lambda: program.attach("veth0", egress=True)), net.udp(net.near) as sender:
        sender.sendto(b"ping", ("10.99.0.2", 7778))


def test_a_program_that_enters_itself_again_has_other_scratch_memory() -> None:
    with veth_pair() as net:
        send_through(net, nested)
        assert entered.value > DEPTH
        assert depth.value == 0
        assert wrong.value == 0


def test_one_value_for_all_would_be_overwritten() -> None:
    with veth_pair() as net:
        send_through(net, nested_plainly)
        assert entered.value > DEPTH
        assert wrong.value > 0


# ---------------------------------------------------------------- all taken, all given back


@bpf.noinline
def busy(k: u32) -> u32:
    words = bpf.array(u64, 100)
    words[k % 100] = k
    if k == 200:
        raise KeyError
    return u32(words[5])


@bpf.xdp(on_error=55)
def calls(ctx: bpf.Xdp) -> int:
    """Tells a lack of memory from other errors."""
    try:
        return int(busy(ctx.read(u8, 0)))
    except MemoryError:
        return 77


@bpf.xdp(on_error=66)
def itself(ctx: bpf.Xdp) -> int:
    """Needs scratch memory itself."""
    words = bpf.array(u64, 100)
    words[ctx.read(u8, 0) % 100] = 5
    return int(words[5])


def objects_of(program: bpf.XdpProgram) -> LoadedObject:
    """The program in the kernel, with its hidden map."""
    decl = declaration_of(program)
    assert isinstance(decl, ProgramDecl)
    return load(compile_programs([decl], check=True).object)


def users(loaded: LoadedObject, name: str) -> set[int]:
    """How many use each value, on every CPU."""
    hidden = loaded.maps[name]
    assert isinstance(hidden, MappingMap)
    return {of_cpu[0] for _, value in hidden.items() for of_cpu in value}


def take_all(loaded: LoadedObject, name: str) -> None:
    """As if others were running everywhere."""
    hidden = loaded.maps[name]
    assert isinstance(hidden, MappingMap)
    for key, value in list(hidden.items()):
        hidden[key] = [[1, *of_cpu[1:]] for of_cpu in value]


def packet(first: int) -> bytes:
    return bytes([first]) + bytes(59)


def test_without_any_left_the_call_raises_memory_error() -> None:
    with objects_of(calls) as loaded:
        program = loaded.programs["calls"]
        assert program.run(packet(5)).verdict == 5
        take_all(loaded, "busy_scratch")
        assert program.run(packet(5)).verdict == 77
        assert users(loaded, "busy_scratch") == {1}


def test_without_any_left_a_program_ends_with_its_error_verdict() -> None:
    with objects_of(itself) as loaded:
        program = loaded.programs["itself"]
        assert program.run(packet(5)).verdict == 5
        take_all(loaded, "itself_scratch")
        assert program.run(packet(5)).verdict == 66


@pytest.mark.parametrize(("first", "verdict"), [(5, 5), (6, 0), (200, 55)])
def test_it_is_given_back_also_by_an_exception(first: int, verdict: int) -> None:
    with objects_of(calls) as loaded:
        for _ in range(20):  # more often than there are values
            assert loaded.programs["calls"].run(packet(first)).verdict == verdict
        assert users(loaded, "busy_scratch") == {0}


# ---------------------------------------------------------------- tail calls

others = bpf.ProgArray(max_entries=2)


@bpf.xdp(on_error=3)
def goes_on(ctx: bpf.Xdp) -> int:
    """Gives its scratch memory back before the other program takes over."""
    words = bpf.array(u64, 100)
    words[1] = 1
    for i in range(100):
        words[i] += ctx.read(u8, 0)
    return others[words[99]](ctx)


@bpf.xdp
def follower(ctx: bpf.Xdp) -> int:
    return 44


def test_a_tail_call_gives_it_back_whether_it_succeeds_or_not() -> None:
    decls = [declaration_of(goes_on), declaration_of(follower)]
    found = [decl for decl in decls if isinstance(decl, ProgramDecl)]
    with load(compile_programs(found, check=True).object) as loaded:
        slots = loaded.maps["others"]
        assert isinstance(slots, MappingMap)
        slots[1] = loaded.programs["follower"]
        for _ in range(20):
            assert loaded.programs["goes_on"].run(packet(1)).verdict == 44
            assert loaded.programs["goes_on"].run(packet(0)).verdict == 3
        assert users(loaded, "goes_on_scratch") == {0}
