"""A small world without code: memory, maps, a context and a run, to call helpers directly."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from pyebpf.object import MapSpec
from pyebpf.runtime.vm.contexts import make_context
from pyebpf.runtime.vm.environment import Environment
from pyebpf.runtime.vm.helpers import HELPERS
from pyebpf.runtime.vm.maps import MachineMap, make_map
from pyebpf.runtime.vm.memory import Memory, Region
from pyebpf.runtime.vm.run import M64, Run
from pyebpf.uapi.constants import ProgType
from pyebpf.uapi.helpers import helper_by_name


def _nobody(*args: int) -> int:
    raise AssertionError("there is no callback")


@dataclass
class World:
    """One run of a program that is not there: the test calls what the program would."""

    prog_type: ProgType = ProgType.SCHED_CLS
    data: bytes = bytes(64)
    environment: Environment = field(default_factory=lambda: Environment(cpus=2))
    callback: Callable[..., int] = _nobody
    memory: Memory = field(default_factory=Memory)

    def __post_init__(self) -> None:
        self.context = make_context(self.memory, self.prog_type, None, self.data, None)
        self.run = Run(self.memory, {}, self.environment, self.prog_type, None, self.context, self._call)

    def _call(self, *args: int) -> int:
        return self.callback(*args)

    def map(self, spec: MapSpec) -> MachineMap:
        """A new map that the run knows."""
        made = make_map(spec, self.memory, self.environment)
        self.run.maps[made.address] = made
        return made

    def bytes(self, data: bytes) -> Region:
        """Memory of the program."""
        return self.memory.map(bytearray(data), "a buffer")

    def help(self, name: str, args: Sequence[int | Region | MachineMap] = ()) -> int:
        """Call a helper; the result as a signed number."""
        found = helper_by_name(name)
        assert found is not None
        values = [arg & M64 if isinstance(arg, int) else arg.address for arg in args]
        result = HELPERS[found.id](self.run, *values, *[0] * (5 - len(values))) & M64
        return result - (result >> 63 << 64)
