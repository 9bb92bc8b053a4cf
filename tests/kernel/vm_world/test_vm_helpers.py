"""The machine's helpers and contexts against the kernel's: random scripts, the same results, errnos, packets, maps."""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Iterator

import pytest

from pyebpf.runtime.cpus import possible_cpus
from pyebpf.runtime.errors import BpfError
from pyebpf.runtime.vm.environment import Environment
from pyebpf.uapi.constants import ProgType
from tests.kernel.vm_world.scripts import (
    Buffer,
    Call,
    Constant,
    Field,
    Outcome,
    Script,
    Step,
    in_machine,
    in_machine_code,
    same,
)
from tests.kernel.vm_world.steps import CTX, MAPS, Steps, seen, tc_script

SCRIPTS = 60


@pytest.fixture(autouse=True)
def one_cpu() -> Iterator[None]:
    """Programs run on CPU 0, as the machine's do: values of per-CPU maps are compared."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {0})
    yield
    os.sched_setaffinity(0, before)


def socket_filter(steps: Steps) -> Script:
    """Loads of a socket filter."""
    made: list[Step] = [steps.reading() for _ in range(6)]
    return Script(ProgType.SOCKET_FILTER, [*made, *seen(ProgType.SOCKET_FILTER)], steps.frame())


def with_context(steps: Steps) -> Script:
    """The context that the user gives, of any program type on packets."""
    prog_type = steps.chance.choice(
        [ProgType.SOCKET_FILTER, ProgType.SCHED_CLS, ProgType.SCHED_ACT, ProgType.CGROUP_SKB]
    )
    frame = steps.frame()
    frame = frame if steps.chance.random() < 0.8 else frame[: steps.chance.randrange(14, 54)]
    return Script(prog_type, seen(prog_type), frame, ctx=steps.skb_ctx(frame))


def xdp(steps: Steps) -> Script:
    """Changes of a frame, of up to several pages."""
    size = steps.chance.choice([14, 15, 60, 64, 100, 1000, 3500, 3520, 3521, 3600, 4000, 7600, 9000])
    made = [steps.xdp() for _ in range(steps.chance.randrange(1, 9))]
    after: list[Step] = [
        Call("xdp_get_buff_len", (CTX,)),
        Call("xdp_load_bytes", (CTX, 0, Buffer(bytes(14)), 14)),
        Field("ingress_ifindex"),
        Field("rx_queue_index"),
    ]
    return Script(ProgType.XDP, [*made, *after], steps.noise(size), ctx=steps.xdp_ctx(size))


def maps(steps: Steps) -> Script:
    """Operations on maps of all types."""
    prog_type = steps.chance.choice([ProgType.SCHED_CLS, ProgType.XDP, ProgType.SOCKET_FILTER])
    return Script(prog_type, [steps.map() for _ in range(30)], bytes(64), MAPS)


def text(steps: Steps) -> Script:
    """Numbers and formats."""
    return Script(ProgType.SCHED_CLS, [steps.text() for _ in range(8)], bytes(64))


@pytest.mark.parametrize("make", [tc_script, socket_filter, with_context, xdp, maps, text])
def test_random_scripts_have_the_same_outcome(make: Callable[[Steps], Script]) -> None:
    for seed in range(SCRIPTS):
        script = make(Steps(random.Random(f"{make.__name__} {seed}")))
        try:
            same(script)
        except AssertionError as error:
            raise AssertionError(f"{make.__name__} {seed} on {script.data.hex()}: {error}") from None


@pytest.mark.parametrize("make", [tc_script, socket_filter, xdp, maps])
def test_translated_code_reaches_the_same_helpers(make: Callable[[Steps], Script]) -> None:
    environment = Environment(cpus=possible_cpus())
    for seed in range(20):
        script = make(Steps(random.Random(f"{make.__name__} {seed}")))
        try:
            expected = in_machine(script, environment)
        except BpfError:
            continue
        assert in_machine_code(script) == expected


def outcome(script: Script) -> Outcome:
    """``same`` of a script that is not refused."""
    found = same(script)
    assert isinstance(found, Outcome)
    return found


def test_the_results_that_are_compared_are_not_all_errors() -> None:
    ok: dict[str, int] = {}
    for make in (tc_script, xdp, maps, text):
        for seed in range(SCRIPTS, 3 * SCRIPTS):
            script = make(Steps(random.Random(f"{make.__name__} {seed}")))
            found = same(script)
            for step, result in zip(
                script.steps, found.results if isinstance(found, Outcome) else (), strict=False
            ):
                if isinstance(step, Call):
                    ok[step.helper] = ok.get(step.helper, 0) + (result < 1 << 63)
    assert {name for name, count in ok.items() if not count} <= {"csum_update"}
    assert len(ok) >= 30


def test_a_socket_filter_does_not_see_the_ethernet_header_but_loads_relative_to_it() -> None:
    frame = bytes(range(1, 13)) + b"\x08\x00" + bytes([0x45] + [7] * 49)
    steps: list[Step] = [
        Call("skb_load_bytes", (CTX, 0, Buffer(bytes(2)), 2)),
        Call("skb_load_bytes_relative", (CTX, 12, Buffer(bytes(4)), 4, 0)),
        Field("len"),
    ]
    found = outcome(Script(ProgType.SOCKET_FILTER, steps, frame))
    assert found.buffers == [b"\x45\x07", b"\x08\x00\x45\x07"]
    assert found.results == [0, 0, 50]
    assert found.packet == bytes(14) + frame[14:]


def test_a_frame_of_several_pages_is_reached_by_helpers_only() -> None:
    steps = [
        Call("xdp_load_bytes", (CTX, 3518, Buffer(bytes(4)), 4)),
        Call("xdp_adjust_tail", (CTX, -500)),
        Call("xdp_get_buff_len", (CTX,)),
    ]
    found = outcome(Script(ProgType.XDP, steps, bytes(3519) + b"abc" + bytes(478)))
    assert found.buffers == [b"\0abc"]
    assert found.results == [0, 0, 3500]


def test_a_time_of_delivery_is_for_ip_only() -> None:
    for kind, expected in ((b"\x08\x00", 0), (b"\x08\x06", (1 << 64) - 95)):
        script = Script(
            ProgType.SCHED_CLS, [Call("skb_set_tstamp", (CTX, 5, 1))], bytes(12) + kind + bytes(50)
        )
        assert outcome(script).results == [expected]


def test_values_of_formats_are_cut_to_their_type() -> None:
    numbers = Buffer((1 << 32 | 5).to_bytes(8, "little") * 2)
    call = Call("snprintf", (Buffer(bytes(32)), 32, Constant(b"%d %lld\0"), numbers, 16))
    found = outcome(Script(ProgType.SCHED_CLS, [call], bytes(64)))
    assert found.buffers[0].rstrip(b"\0") == b"5 4294967301"
    assert found.results == [13]
