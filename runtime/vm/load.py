"""From an ``ObjectSpec`` to programs, maps and data in the machine: ``runtime.load`` without a kernel.

All objects of a process share one memory, so that programs loaded apart can share maps; whatever nobody refers to any
more is taken away.
"""

from __future__ import annotations

import functools
import sys
import threading
import time
from collections.abc import Mapping
from types import TracebackType

from pyebpf import btf
from pyebpf.hints import TYPE_CHECKING
from pyebpf.object import MapSpec, ObjectSpec, ProgramSpec, Relocation, RelocKind
from pyebpf.records import dataclass, field
from pyebpf.runtime.errors import ObjectError, UnsupportedObject
from pyebpf.runtime.linker import link
from pyebpf.runtime.maps import Map, MappingMap
from pyebpf.runtime.run_result import RunResult, check_input
from pyebpf.runtime.vm.contexts import make_context
from pyebpf.runtime.vm.data import MachineData
from pyebpf.runtime.vm.environment import Environment
from pyebpf.runtime.vm.helpers import HELPERS
from pyebpf.runtime.vm.machine import DEFAULT_BUDGET, Machine, Program
from pyebpf.runtime.vm.maps import MachineMap, make_map, user_view
from pyebpf.runtime.vm.maps_user import machine_map
from pyebpf.runtime.vm.translate import Target, translate
from pyebpf.uapi.constants import AttachType, MapType, ProgType

if TYPE_CHECKING:
    from typing import Final, Self


_LOCK: Final = threading.RLock()
"""Programs run one at a time: they share frames, and what a run deletes is taken away at its end."""


@functools.cache
def _machine() -> Machine:
    return Machine()


class MachineProgram:
    """A program in the machine, with the interface of ``runtime.program.LoadedProgram`` as far as it makes sense.

    ``code`` is the translated program; ``instructions`` how many ran in the last run. ``log`` is empty: nothing is
    verified.
    """

    def __init__(self, code: Program, used: tuple[MachineMap | MachineData, ...]) -> None:
        self.code = code
        self.name = code.name
        self.type: ProgType = code.linked.program.prog_type
        self.attach_type: AttachType | None = code.linked.program.attach_type
        self.log = ""
        self._used = used
        self._closed = False

    @property
    def instructions(self) -> int:
        """How many instructions the last run took, tail calls included."""
        return self.code.instructions

    def run(
        self, data: bytes = b"", *, repeat: int = 1, ctx: bytes | None = None, flags: int = 0, cpu: int = 0
    ) -> RunResult:
        """Run it as the kernel's test run does, ``repeat`` times on the same packet.

        ``ctx``: the context's bytes. ``flags`` and ``cpu`` are those of ``BPF_PROG_RUN``; the machine has one CPU, that
        of its environment, and no flags.

        Raises ``MachineError`` with the place where the program went wrong, ``ValueError`` and ``BpfError`` for input
        that the kernel refuses too, ``UnsupportedObject`` for a type without a context in the machine.
        """
        if self._closed:
            raise ValueError(f"the program {self.name!r} is closed")
        if flags or cpu:
            raise ValueError(
                "the built-in machine runs programs without flags, on the CPU of its environment"
            )
        data = check_input(self.type, data, repeat, ctx)
        ctx = None if ctx is None else bytes(ctx)
        code = self.code
        with _LOCK:
            context = make_context(code.machine.memory, self.type, self.attach_type, data, ctx)
            try:
                start = time.perf_counter_ns()
                for _ in range(max(repeat, 1)):
                    result = code.run(context)
                duration = (time.perf_counter_ns() - start) // max(repeat, 1)
                packet, after = context.results()
            finally:
                context.close()
        verdict = (result & 0xFFFF_FFFF ^ 1 << 31) - (1 << 31)
        return RunResult(verdict, packet, duration, after, machine=True)

    def close(self) -> None:
        """Let it go; again is harmless. Program arrays that hold it go on calling it."""
        self._closed = True

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        state = ", closed" if self._closed else ""
        return f"<MachineProgram {self.name!r} {self.type.name}{state}>"


@dataclass(slots=True)
class MachineObject:
    """Programs, maps and data sections in the machine, by name: the shape of ``runtime.load.LoadedObject``."""

    programs: dict[str, MachineProgram] = field(default_factory=dict)
    maps: dict[str, Map] = field(default_factory=dict)
    data: dict[str, MachineData] = field(default_factory=dict)
    _given: frozenset[str] = frozenset()

    def close(self) -> None:
        """Close programs, and the maps and data that were made for them; again is harmless."""
        for program in self.programs.values():
            program.close()
        for name, map_ in self.maps.items():
            if name not in self._given:
                map_.close()
        for section in self.data.values():
            section.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def load(
    spec: ObjectSpec,
    *,
    maps: Mapping[str, Map] | None = None,
    data: Mapping[str, MachineData] | None = None,
    environment: Environment | None = None,
    budget: int = DEFAULT_BUDGET,
) -> MachineObject:
    """Bring every program of ``spec`` that is to be loaded into the machine, with its maps and data.

    Args:
        spec: the object.
        maps: maps of the machine to use under these names.
        data: the same for data sections.
        environment: the clock, chance, CPU and task that programs see; the process' own by default.
        budget: how many instructions a run may take.

    Raises:
        ObjectError: the object is inconsistent; ``UnsupportedObject`` if it needs what the machine cannot do.
        BadCode: a program is none.
        BpfError: a map has sizes or flags that the kernel refuses.
    """
    with _LOCK:
        loading = _Loading(spec, dict(maps or {}), dict(data or {}), environment or Environment(), budget)
        loading.check()
        loading.make_maps()
        for name, program in spec.programs.items():
            if program.autoload:
                loading.result.programs[name] = loading.program(program)
        for map_spec in spec.maps.values():
            loading.fill(map_spec)
    return loading.result


@dataclass(slots=True)
class _Loading:
    """One run of ``load``."""

    spec: ObjectSpec
    given_maps: dict[str, Map]
    given_data: dict[str, MachineData]
    environment: Environment
    budget: int
    machine: Machine = field(default_factory=_machine)
    result: MachineObject = field(default_factory=MachineObject)

    def check(self) -> None:
        """Refuse what cannot run here at all."""
        if not self.spec.little_endian or sys.byteorder != "little":
            raise UnsupportedObject(
                "the built-in machine runs little-endian objects on little-endian machines only"
            )
        for name in self.given_maps.keys() - self.spec.maps.keys():
            raise ObjectError(f"the object has no map {name!r} that a map could be given for")
        for name in self.given_data.keys() - self.spec.data.keys():
            raise ObjectError(f"the object has no data section {name!r} that one could be given for")
        for function in (*self.spec.programs.values(), *self.spec.functions.values()):
            if function.core:
                raise UnsupportedObject(
                    f"function {function.name!r} depends on the kernel's types (CO-RE), which the built-in machine "
                    "does not have"
                )
        for extern in self.spec.externs.values():
            if not isinstance(extern.type, btf.Func):
                raise UnsupportedObject(
                    f"the kernel variable or configuration value {extern.name!r} is needed, which the built-in "
                    "machine does not have"
                )

    def make_maps(self) -> None:
        """Maps and data sections, new ones or those that were given."""
        memory = self.machine.memory
        for name, map_spec in self.spec.maps.items():
            given = self.given_maps.get(name)
            if given is None:
                given = user_view(make_map(map_spec, memory, self.environment))
            else:
                check_same(map_spec, machine_map(given).spec)
            self.result.maps[name] = given
        for name, section in self.spec.data.items():
            if section.contents:
                self.result.data[name] = self.given_data.get(name) or MachineData(section, memory)
        self.result._given = frozenset(self.given_maps)

    def fill(self, map_spec: MapSpec) -> None:
        """Put programs or maps into the slots of a map."""
        is_programs = map_spec.type is MapType.PROG_ARRAY
        targets: Mapping[str, object] = self.result.programs if is_programs else self.result.maps
        into = self.result.maps[map_spec.name]
        for index, target in map_spec.slots.items():
            found = targets.get(target)
            if found is None:
                raise ObjectError(
                    f"map {map_spec.name!r}: slot {index} is for {target!r}, which was not loaded"
                )
            assert isinstance(into, MappingMap)
            into[index] = found

    def program(self, program: ProgramSpec) -> MachineProgram:
        """Link, translate and prepare a program."""
        linked = link(self.spec, program)
        if program.prog_type is ProgType.UNSPEC:
            raise ObjectError(
                f"the type of program {program.name!r} is not known from its section {program.section!r}; set it "
                "before loading"
            )
        places = {
            r.slot: self._target(r.relocation)
            for r in linked.open
            if r.relocation.kind is not RelocKind.KFUNC
        }
        sizes = {name: section.region.size for name, section in self.result.data.items()}
        translation = translate(linked, places, sizes, HELPERS)
        maps = {view.address: view for view in (machine_map(view) for view in self.result.maps.values())}
        code = Program(program.name, linked, translation, self.machine, maps, self.environment, self.budget)
        numbers = {
            name: self._address(target)
            for name, target in translation.targets.items()
            if target.kind is not RelocKind.FUNC
        }
        sections = {name: self.result.data[section].region for name, section in translation.sections.items()}
        code.prepare(numbers, sections)
        return MachineProgram(code, (*maps.values(), *self.result.data.values()))

    def _address(self, target: Target) -> int:
        match target.kind:
            case RelocKind.MAP:
                return machine_map(self.result.maps[target.name]).address
            case RelocKind.DATA:
                return self.result.data[target.name].region.address + target.offset
            case _:
                return 0  # a weak kernel function, which the machine does not have

    def _target(self, relocation: Relocation) -> Target:
        """What a reference leads to. Raises ``ObjectError`` if the object does not have it."""
        match relocation.kind:
            case RelocKind.MAP:
                if relocation.symbol not in self.result.maps:
                    raise ObjectError(
                        f"code refers to the map {relocation.symbol!r}, which the object does not have"
                    )
                return Target(RelocKind.MAP, relocation.symbol)
            case RelocKind.DATA:
                section, offset = self._place(relocation)
                if section not in self.result.data:
                    raise ObjectError(
                        f"code refers to the data section {section!r}, which is missing or empty"
                    )
                return Target(RelocKind.DATA, section, offset + relocation.addend)
            case _:
                extern = self.spec.externs.get(relocation.symbol)
                if extern is None or not extern.weak:
                    raise UnsupportedObject(
                        f"code takes the address of {relocation.symbol!r} of the kernel, which the built-in machine "
                        "does not have"
                    )
                return Target(relocation.kind, relocation.symbol)

    def _place(self, relocation: Relocation) -> tuple[str, int]:
        if not relocation.symbol:
            return relocation.section, 0
        for name, section in self.spec.data.items():
            if relocation.section in ("", name):
                variable = section.variable(relocation.symbol)
                if variable is not None:
                    return name, variable.offset
        raise ObjectError(f"code refers to the variable {relocation.symbol!r}, which is in no data section")


def check_same(spec: MapSpec, existing: MapSpec) -> None:
    """Raise ``ObjectError`` unless programs of this object can use ``existing`` as the map ``spec``."""
    pairs = {
        "type": (spec.type.name, existing.type.name),
        "key size": (spec.key_size, existing.key_size),
        "value size": (spec.value_size, existing.value_size),
        "max_entries": (spec.max_entries, existing.max_entries),
        "flags": (spec.flags, existing.flags),
        "map_extra": (spec.map_extra, existing.map_extra),
    }
    wrong = [f"{what} {have} instead of {want}" for what, (want, have) in pairs.items() if want != have]
    if wrong:
        raise ObjectError(f"the existing map for {spec.name!r} does not fit: it has {', '.join(wrong)}")
