"""What programs can ask the world, apart from their input: the clock, chance, the CPU, the current task.

Replaced as a whole to make runs repeatable: ``Environment(clock=lambda: 0, random=random.Random(1).getrandbits)``.
"""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable

from pyebpf.records import dataclass, field


def _process() -> int:
    return os.getpid()


@dataclass(slots=True)
class Environment:
    """``clock``: nanoseconds since boot; ``tai``: nanoseconds of atomic time since 1970; ``hz``: jiffies of a second.
    ``random(bits)``: a number of so many random bits. ``cpu``: the number of the
    CPU that runs programs; ``cpus``: how many values a per-CPU map has;
    ``numa_node``: of that CPU. ``pid``, ``uid``, ``gid``, ``comm``: of the
    current task. ``print``: gets each line of ``bpf_trace_printk``."""

    clock: Callable[[], int] = time.monotonic_ns
    tai: Callable[[], int] = time.time_ns
    hz: int = 250
    random: Callable[[int], int] = random.getrandbits
    cpu: int = 0
    cpus: int = 1
    numa_node: int = 0
    pid: int = field(default_factory=_process)
    uid: int = field(default_factory=lambda: os.getuid() if hasattr(os, "getuid") else 0)
    gid: int = field(default_factory=lambda: os.getgid() if hasattr(os, "getgid") else 0)
    comm: bytes = b"python"
    print: Callable[[str], None] = print
