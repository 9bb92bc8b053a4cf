"""The programs whose speed is measured do what they say, and each run tells how many instructions it took."""

from __future__ import annotations

from benchmarks.vm_speed import arithmetic, frame, loaded, packet_filter, speed
from pyebpf.uapi import constants as c


def test_the_measured_programs() -> None:
    programs = loaded(arithmetic, packet_filter)
    assert programs["arithmetic"].run(frame()).verdict in (0, 1)
    assert programs["arithmetic"].instructions > 10_000 * 5
    assert programs["packet_filter"].run(frame()).verdict == c.XDP_DROP
    assert programs["packet_filter"].run(bytes(60)).verdict == c.XDP_PASS
    per_second, per_run = speed(programs["packet_filter"], frame(), 10)
    assert per_second > 0 < per_run
