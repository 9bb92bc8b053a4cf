"""A map of the kernel behind its descriptor, as ``backing.Backing`` wants it."""

from __future__ import annotations

import os

from pyebpf.runtime.attrs import MapElem
from pyebpf.runtime.backing import ElementAccess, MapFacts, RecordSource
from pyebpf.runtime.elements import Elements
from pyebpf.runtime.errors import Phase
from pyebpf.runtime.fd import Fd
from pyebpf.runtime.info import map_facts
from pyebpf.runtime.pin import pin
from pyebpf.runtime.syscall import bpf
from pyebpf.uapi.constants import BpfCmd


class KernelBacking:
    """The map behind ``handle``, which it owns from now on."""

    def __init__(self, handle: Fd) -> None:
        self.handle = handle
        self.facts: MapFacts = map_facts(handle)

    @property
    def cpus(self) -> int:
        """How many CPUs this machine can ever have."""
        from pyebpf.runtime.cpus import possible_cpus

        return possible_cpus()

    @property
    def closed(self) -> bool:
        """Whether the descriptor is closed."""
        return self.handle.closed

    def info(self) -> MapFacts:
        """What the kernel says about the map."""
        return map_facts(self.handle)

    def elements(self, value_bytes: int) -> ElementAccess:
        """Access by system calls."""
        return Elements(self.handle, self.facts.key_size, value_bytes, repr(self.facts.name))

    def records(self) -> RecordSource:
        """The memory shared with the kernel, mapped at the first use."""
        from pyebpf.runtime.ring_memory import RingMemory

        return RingMemory(self.handle, self.facts.name, self.facts.max_entries)

    def perf_records(self, pages: int, wakeup: int) -> RecordSource:
        """Perf events on all CPUs, in the slots of the map. Raises ``BpfError``."""
        from pyebpf.runtime.perf_memory import PerfMemory

        return PerfMemory(self, pages, wakeup)

    def freeze(self) -> None:
        """MAP_FREEZE. Raises ``BpfError``."""
        bpf(BpfCmd.MAP_FREEZE, MapElem(self.handle.fileno()), Phase.MAP_FREEZE, repr(self.facts.name))

    def pin(self, path: str | os.PathLike[str]) -> None:
        """OBJ_PIN. Raises ``BpfError``."""
        pin(self.handle, path)

    def close(self) -> None:
        """Give the descriptor up."""
        self.handle.close()
