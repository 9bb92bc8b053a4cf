"""Judge one program: compile its source, run it on packets on every machine, and compare everything that it leaves
behind with what the reference evaluator says.
"""

from __future__ import annotations

import contextlib
import enum
import linecache
import os
import random
import signal
import sys
import traceback
import types
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field

from pyebpf.declare import ProgramDecl, declaration_of
from pyebpf.diagnostics import CompileError
from pyebpf.driver import Codegen, Compiled, compile_programs
from pyebpf.frontend import tree
from pyebpf.object import ObjectSpec
from pyebpf.runtime.errors import BpfError, VerifierError
from pyebpf.runtime.load import load
from pyebpf.runtime.vm.environment import Environment
from pyebpf.runtime.vm.load import MachineObject
from pyebpf.runtime.vm.load import load as load_in_machine
from pyebpf.uapi.constants import ProgType
from tests.differential import machines
from tests.differential.coverage import constructs_of
from tests.differential.cpython.contexts import SkBuff, Xdp
from tests.differential.cpython.maps import Unpredictable
from tests.differential.cpython.run import PythonModule
from tests.differential.departures import folds_as_python, is_python
from tests.differential.evaluator import Context, Departure, Evaluator
from tests.differential.machines import Absence, Loaded, Machine, Outcome, difference, run_loaded, seen
from tests.differential.nodes import all_nodes

TIME_LIMIT = 20
"""Seconds that one program may take from source to result."""

CONTEXT_FIELDS = {
    "ingress_ifindex": 1,
    "rx_queue_index": 0,
    "mark": 0,
    "priority": 0,
    "tc_index": 0,
    "hash": 0,
    "vlan_present": 0,
    **{f"cb[{i}]": 0 for i in range(5)},
}
"""What the context says in a test run to which no context is given: the packet came from the loopback interface."""


class Verdict(enum.Enum):
    """What became of a program; only the first is as it should be."""

    AGREED = "agreed"
    MISMATCH = "mismatch"
    REJECTED = "rejected by the kernel"
    REFUSED = "refused by pyebpf"
    CRASHED = "crash of the compiler or a machine"
    SLOW = f"took more than {TIME_LIMIT} s"


@dataclass(frozen=True, slots=True)
class Judgement:
    """The verdict on a program, what explains it, the number of instructions, the machines that agreed with the
    evaluator, why others did not run it, and the constructs that it contains."""

    verdict: Verdict
    text: str = ""
    instructions: int = 0
    agreed: frozenset[Machine] = frozenset()
    absent: tuple[tuple[Machine, Absence], ...] = ()
    constructs: frozenset[str] = frozenset()


class Slow(BaseException):
    """The time limit has passed."""


class _Failed(Exception):
    """The end of a judgement that is no agreement."""

    def __init__(self, verdict: Verdict, text: str) -> None:
        super().__init__(text)
        self.verdict = verdict
        self.text = text


@contextlib.contextmanager
def time_limit(seconds: int) -> Iterator[None]:
    """``Slow`` where the block takes so many seconds of this process' own time, however busy the machine is; or waits
    for another process for twenty times as long."""

    def expire(number: int, frame: object) -> None:
        raise Slow

    before = [signal.signal(number, expire) for number in (signal.SIGPROF, signal.SIGALRM)]
    signal.setitimer(signal.ITIMER_PROF, seconds)
    signal.alarm(20 * seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.alarm(0)
        for number, handler in zip((signal.SIGPROF, signal.SIGALRM), before, strict=True):
            signal.signal(number, handler)


@contextlib.contextmanager
def module_of(source: str, name: str, code: types.CodeType | None = None) -> Iterator[types.ModuleType]:
    """``source`` as an imported module, with its lines known to ``inspect``, while the block runs."""
    filename = f"<{name}>"
    linecache.cache[filename] = (len(source), None, source.splitlines(keepends=True), filename)
    module = types.ModuleType(name)
    module.__file__ = filename
    sys.modules[name] = module
    try:
        exec(code or compile(source, filename, "exec"), module.__dict__)
        yield module
    finally:
        sys.modules.pop(name, None)
        linecache.cache.pop(filename, None)


def programs_of(module: types.ModuleType) -> list[ProgramDecl]:
    """The programs of a generated module, in the order of their definition; the last one is run."""
    found = [declaration_of(value) for value in module.__dict__.values()]
    return [decl for decl in found if isinstance(decl, ProgramDecl)]


def packets(seed: int) -> list[bytes]:
    """Frames of several lengths; the kernel's test run wants at least an Ethernet header, and no IP without room for it."""
    rng = random.Random(seed * 7919 + 1)
    lengths = (rng.randint(14, 20), rng.randint(30, 64), rng.randint(64, 90))
    frames = [bytearray(rng.randbytes(length)) for length in lengths]
    for frame in frames:
        frame[12] |= 1  # an EtherType that is neither IPv4 nor IPv6
    return [bytes(frame) for frame in frames]


# ---------------------------------------------------------------- what each machine says


def evaluate(compiled: Compiled, frames: Sequence[bytes]) -> tuple[list[Outcome], set[Departure]]:
    """What the evaluator says of every frame, and where that is not what Python says."""
    evaluator = Evaluator(compiled.unit)
    machines.fill_modelled_arrays(compiled, evaluator)
    outcomes = []
    for frame in frames:
        context = Context(bytearray(seen(frame, compiled)), dict(CONTEXT_FIELDS))
        verdict = evaluator.run(compiled.unit.programs[-1], context)
        left = machines.modelled_maps(compiled, evaluator), machines.modelled_variables(compiled, evaluator)
        outcomes.append(Outcome(verdict, bytes(context.packet), *left))
    return outcomes, evaluator.departures


def _run_in_cpython(compiled: Compiled, code: types.CodeType, frames: Sequence[bytes]) -> Iterator[Outcome]:
    module = PythonModule(code, "undecorated")
    last = compiled.unit.programs[-1].name
    kind = Xdp if compiled.object.programs[last].prog_type is ProgType.XDP else SkBuff
    known = {str(decl.name) for decl in compiled.unit.maps} | {
        str(decl.name) for decl in compiled.unit.globals
    }
    for frame in frames:
        context = kind(seen(frame, compiled))
        verdict = module.run(context)
        left, variables = module.maps_left(), module.variables_left()
        yield Outcome(
            verdict,
            bytes(context.packet),
            {name: value for name, value in left.items() if name in known},
            {n: v for n, v in variables.items() if n in known and not _is_constant(compiled, n)},
        )


def _in_machine(spec: ObjectSpec) -> MachineObject:
    """Load for the built-in machine, whose lines of ``print`` nobody wants to see here."""
    return load_in_machine(spec, environment=Environment(print=lambda line: None))


def _is_constant(compiled: Compiled, name: str) -> bool:
    return any(decl.constant for decl in compiled.unit.globals if decl.name == name)


def _run_loaded(compiled: Compiled, loaded: Loaded, frames: Sequence[bytes]) -> Iterator[Outcome]:
    machines.fill_program_arrays(compiled, loaded)
    cpu = machines.this_cpu()
    for frame in frames:
        yield run_loaded(compiled, loaded, frame, cpu)


def _compare(
    expected: Sequence[Outcome], found: Iterator[Outcome], frames: Sequence[bytes], machine: Machine
) -> str | None:
    """What differs after the first frame where something does."""
    for frame, one, other in zip(frames, expected, found, strict=True):
        if one != other:
            return f"packet {frame.hex()}\n{difference(one, other, machine)}"
    return None


def disagreement(compiled: Compiled, loaded: Loaded, frames: list[bytes], cpu: int) -> str | None:
    """Run the last program on every frame on both sides; what differs after the first where something does."""
    del cpu
    return _compare(
        evaluate(compiled, frames)[0], _run_loaded(compiled, loaded, frames), frames, Machine.KERNEL
    )


# ---------------------------------------------------------------- judging


@dataclass(slots=True)
class _Trial:
    """A program on its way through the machines."""

    source: str
    code: types.CodeType
    frames: Sequence[bytes]
    check: bool
    decls: list[ProgramDecl]
    expected: list[Outcome] = field(default_factory=list)
    departures: set[Departure] = field(default_factory=set)
    agreed: set[Machine] = field(default_factory=set)
    absent: dict[Machine, Absence] = field(default_factory=dict)
    constructs: frozenset[str] = frozenset()
    nodes: list[tree.Node] = field(default_factory=list)
    instructions: int = 0
    _llvm: Compiled | None = None

    def compile(self) -> Compiled:
        """Compile with our code generator, and ask the evaluator."""
        try:
            compiled = compile_programs(self.decls, check=self.check, codegen=Codegen.PYEBPF)
        except CompileError as error:
            raise _Failed(Verdict.REFUSED, str(error)) from error
        parts = [*compiled.object.programs.values(), *compiled.object.functions.values()]
        self.instructions = sum(len(part.code) // 8 for part in parts)
        self.nodes = list(all_nodes(compiled.unit))
        self.constructs = constructs_of(self.source, self.nodes)
        return compiled

    def try_machine(self, machine: Machine, compiled: Compiled) -> None:
        """Run the program there and compare."""
        match machine:
            case Machine.EVALUATOR:
                self.expected, self.departures = evaluate(compiled, self.frames)
                return
            case Machine.CPYTHON:
                if is_python(self.departures, self.source) and folds_as_python(self.nodes, self.source):
                    self._compare(machine, _run_in_cpython(compiled, self.code, self.frames))
                else:
                    self.absent[machine] = Absence.DEPARTS
                return
            case _:
                made = self._through_llvm() if machine.through_llvm else compiled
                self._load_and_compare(machine, made)

    def _through_llvm(self) -> Compiled:
        if self._llvm is None:
            self._llvm = compile_programs(self.decls, codegen=Codegen.LLVM)
        return self._llvm

    def _load_and_compare(self, machine: Machine, compiled: Compiled) -> None:
        try:
            loaded = load(compiled.object) if machine.in_kernel else _in_machine(compiled.object)
        except VerifierError as error:
            if machine is Machine.LLVM_KERNEL:
                self.absent[machine] = Absence.UNPROVEN
                return
            raise _Failed(Verdict.REJECTED, str(error)) from error
        except BpfError as error:
            raise _Failed(Verdict.REJECTED, str(error)) from error
        with loaded as live:
            self._compare(machine, _run_loaded(compiled, live, self.frames))

    def _compare(self, machine: Machine, found: Iterator[Outcome]) -> None:
        try:
            different = _compare(self.expected, found, self.frames, machine)
        except Unpredictable:
            self.absent[machine] = Absence.UNPREDICTABLE
            return
        if different is not None:
            raise _Failed(Verdict.MISMATCH, f"{machine.value}: {different}")
        self.agreed.add(machine)

    def judgement(self, verdict: Verdict, text: str = "") -> Judgement:
        """What it came to."""
        return Judgement(
            verdict,
            text,
            self.instructions,
            frozenset(self.agreed),
            tuple(self.absent.items()),
            self.constructs,
        )


PRIVILEGED = sys.platform == "linux" and os.geteuid() == 0
DEFAULT_MACHINES = tuple(
    machine for machine in Machine if not machine.through_llvm and (PRIVILEGED or not machine.in_kernel)
)
"""Everything but what goes through LLVM; without privilege not the kernel."""


def judge(
    source: str,
    name: str,
    frames: Sequence[bytes],
    *,
    check: bool = False,
    on: Collection[Machine] = DEFAULT_MACHINES,
) -> Judgement:
    """Judge the module ``source`` on the machines ``on``; the evaluator always runs. ``check``: verify the SSA after
    every pass.

    The process must be pinned to one CPU (``pinned``) where the program has per-CPU maps.
    """
    code = compile(source, f"<{name}>", "exec")
    trial: _Trial | None = None
    verdict, text = Verdict.AGREED, ""
    try:
        with time_limit(TIME_LIMIT), module_of(source, name, code) as module:
            trial = _Trial(source, code, frames, check, programs_of(module))
            compiled = trial.compile()
            for machine in Machine:
                if machine is Machine.EVALUATOR or machine in on:
                    trial.try_machine(machine, compiled)
    except _Failed as failed:
        verdict, text = failed.verdict, failed.text
    except Slow:
        verdict, text = Verdict.SLOW, f"more than {TIME_LIMIT} s"
    except Exception:
        verdict, text = Verdict.CRASHED, traceback.format_exc()
    return Judgement(verdict, text) if trial is None else trial.judgement(verdict, text)


def pin(number: int = 0) -> None:
    """Keep this process on one of its CPUs from now on; ``number`` chooses which."""
    cpus = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, {cpus[number % len(cpus)]})


@contextlib.contextmanager
def pinned() -> Iterator[None]:
    """Keep this process on one of its CPUs while the block runs."""
    before = os.sched_getaffinity(0)
    pin(os.getpid())
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)
