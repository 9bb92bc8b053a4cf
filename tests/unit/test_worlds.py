"""``with bpf.machine():`` as users' unit tests use it: a world of its own for every block, without privilege."""

from __future__ import annotations

import functools
from pathlib import Path

import pytest

import pyebpf as bpf
from pyebpf import session, u8, u32, u64
from pyebpf.runtime.errors import BpfError
from pyebpf.session import ImportOnly

bpf.license("GPL")


@bpf.struct
class Seen:
    """Per first byte."""

    packets: u64
    last: u32


counts = bpf.ArrayMap[u32, u64](max_entries=4)
seen = bpf.HashMap[u8, Seen](max_entries=8)
percpu = bpf.PerCpuArray[u32, u64](max_entries=1)
inbox = bpf.Queue[u32](max_entries=8)
events = bpf.RingBuf(4096)
programs = bpf.ProgArray(max_entries=2)
hits = bpf.Global[u64](5)
limit = bpf.Const[u32](3)


@bpf.xdp
def first(ctx: bpf.Xdp) -> int:
    """Writes to everything."""
    counts[0] += 1
    percpu[0] += 1
    hits.value += 1
    inbox.push(len(ctx))
    events.output(Seen(packets=7, last=len(ctx)))
    seen[ctx.read(u8, 0)] = Seen(packets=1, last=limit.value)
    return bpf.XDP_PASS


@bpf.xdp
def second(ctx: bpf.Xdp) -> int:
    """Shares with the other program."""
    hits.value += 10
    counts[0] += 100
    return bpf.XDP_DROP


@bpf.xdp
def entry(ctx: bpf.Xdp) -> int:
    """Calls another program by index."""
    try:
        return programs[ctx.read(u8, 0)](ctx)
    except KeyError:
        return 77


@bpf.xdp
def when(ctx: bpf.Xdp) -> int:
    """The clock and the CPU."""
    counts[1] = bpf.ktime_get_ns()
    counts[2] = bpf.get_smp_processor_id()
    return bpf.XDP_PASS


@bpf.sk_skb_verdict
def judge(skb: bpf.SkBuff) -> int:
    """A kind without a test run."""
    return bpf.SK_PASS if len(skb) > 4 else bpf.SK_DROP


FRAME = bytes([6]) + bytes(59)


def test_programs_maps_variables_and_events() -> None:
    with bpf.machine():
        result = first.run(FRAME)
        assert (result.verdict, result.machine, result.data) == (bpf.XDP_PASS, True, FRAME)
        assert second.run(FRAME).verdict == bpf.XDP_DROP
        assert counts[0] == 101
        assert hits.value == 16
        assert dict(seen.items()) == {6: Seen(packets=1, last=3)}
        assert percpu.total(0) == 1
        assert inbox.pop() == 60
        with pytest.raises(IndexError):
            inbox.pop()
        assert list(events.poll(Seen)) == [Seen(packets=7, last=60)]


def test_user_space_writes_before_and_between_runs() -> None:
    with bpf.machine():
        counts[0] = 40
        hits.value = 1
        first.run(FRAME)
        hits.value += 100
        counts[0] = 7
        first.run(FRAME)
        assert (counts[0], hits.value) == (8, 103)


def test_every_block_is_fresh_and_leaves_nothing() -> None:
    for _ in range(2):
        with bpf.machine():
            assert hits.value == 5
            hits.value = 9
            first.run(FRAME)
            assert (counts[0], hits.value) == (1, 10)
    assert hits.value == 5
    assert not session.in_machine()


def test_blocks_nest() -> None:
    with bpf.machine():
        first.run(FRAME)
        with bpf.machine():
            assert counts[0] == 0
            first.run(FRAME)
        assert counts[0] == 1


def test_constants_are_set_before_the_first_run() -> None:
    with bpf.machine():
        limit.value = 9
        first.run(FRAME)
        assert seen[6].last == 9
        with pytest.raises(BpfError):
            limit.value = 3
        first.close()
        limit.value = 4
        first.run(FRAME)
        assert seen[6].last == 4
    assert limit.value == 3


def test_tail_calls() -> None:
    with bpf.machine():
        assert entry.run(bytes(60)).verdict == 77
        programs[0] = second
        assert entry.run(bytes(60)).verdict == bpf.XDP_DROP
        assert counts[0] == 100
        del programs[0]
        assert entry.run(bytes(60)).verdict == 77


def test_an_environment_of_the_users() -> None:
    with bpf.machine(bpf.Environment(clock=lambda: 1234, cpu=3, cpus=4)):
        when.run(FRAME)
        assert (counts[1], counts[2]) == (1234, 3)


def test_the_environment_of_a_block_can_be_changed_between_runs() -> None:
    with bpf.machine() as environment:
        for now in (5, 6):
            environment.clock = functools.partial(int, now)
            when.run(FRAME)
            assert counts[1] == now


def test_nothing_is_loaded_or_attached_inside() -> None:
    with bpf.machine():
        with pytest.raises(
            bpf.InMachine, match=r"program first cannot be loaded inside `with bpf\.machine\(\):`"
        ):
            first.load()
        with pytest.raises(bpf.InMachine):
            first.attach("lo")
        assert not first.loaded


def test_kinds_without_a_test_run_run_inside() -> None:
    with bpf.machine():
        assert [judge.run(data).verdict for data in (b"four", b"five!")] == [bpf.SK_DROP, bpf.SK_PASS]


def test_a_machine_for_one_run() -> None:
    """``machine=True`` inside a block means the block's; its maps are seen there."""
    with bpf.machine():
        assert judge.run(b"five!", machine=True).verdict == bpf.SK_PASS
        second.run(FRAME, machine=True)
        assert counts[0] == 100


def test_an_exception_ends_the_block_too() -> None:
    with pytest.raises(ZeroDivisionError), bpf.machine():
        hits.value = 8
        raise ZeroDivisionError
    assert hits.value == 5
    assert not session.in_machine()


def test_files_that_are_only_imported_get_no_machine_either() -> None:
    with (
        session.importing(Path("a.py")),
        bpf.machine(),
        pytest.raises(ImportOnly, match=r"a\.py: program first"),
    ):
        first.run(FRAME)


def test_looking_at_maps_in_a_notebook() -> None:
    with bpf.machine():
        first.run(FRAME)
        assert "in the built-in machine" in seen._repr_html_()
        assert ">packets</th>" in seen._repr_html_()
        assert "Elements that are zero are not shown" in counts._repr_html_()
        assert "RingBuf" in events._repr_html_()


def test_object_files_are_not_loaded_behind_the_machines_back(tmp_path: Path) -> None:
    path = tmp_path / "first.o"
    path.write_bytes(first.compile().elf())
    with bpf.machine(), pytest.raises(bpf.InMachine, match="an object file cannot be loaded inside"):
        bpf.load(path)
