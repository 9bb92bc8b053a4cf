"""CPU numbers as sysfs tells them."""

from __future__ import annotations

import functools


def parse_cpu_list(text: str) -> list[int]:
    """The numbers in a list such as ``0-3,8,10-11``."""
    numbers: list[int] = []
    for part in text.strip().split(","):
        first, _, last = part.partition("-")
        if first:
            numbers.extend(range(int(first), int(last or first) + 1))
    return numbers


@functools.cache
def possible_cpus() -> int:
    """How many CPUs this machine can ever have: what the kernel sizes per-CPU values by."""
    with open("/sys/devices/system/cpu/possible") as opened:
        return max(parse_cpu_list(opened.read())) + 1


def online_cpus() -> list[int]:
    """The CPUs that run now."""
    with open("/sys/devices/system/cpu/online") as opened:
        return parse_cpu_list(opened.read())
