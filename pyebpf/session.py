"""Where this process' declarations live: in the kernel where it may load programs, else in the built-in machine.

A process has one world of its own, decided when the first map or program is needed: the kernel, or, where that
refuses the process, a built-in machine, which is told once by a ``MachineWarning``. ``with machine():`` opens a
further one, fresh, in which everything lives until the block ends.
"""

from __future__ import annotations

import contextlib
import errno
import sys
import warnings
from _thread import RLock  # threading is imported by few scripts, and takes a millisecond
from collections.abc import Callable, Iterator, Mapping

from pyebpf.declare import GlobalDecl, MapDecl, ProgramDecl
from pyebpf.diagnostics import PyebpfError
from pyebpf.hints import TYPE_CHECKING, Any, TypeVar
from pyebpf.runtime.errors import BpfError, NotSupported, PermissionDenied, Phase
from pyebpf.runtime.privilege import explain_denial, lacking, program_need
from pyebpf.world import World

if TYPE_CHECKING:
    from pathlib import Path
    from typing import TypeAlias

    from pyebpf.live import LiveProgram
    from pyebpf.ready import Ready
    from pyebpf.runtime.attach.link import Link
    from pyebpf.runtime.data import LoadedData
    from pyebpf.runtime.load import LoadedObject, LoadedProgram
    from pyebpf.runtime.maps import Map
    from pyebpf.runtime.run_result import RunResult
    from pyebpf.runtime.vm.data import MachineData
    from pyebpf.runtime.vm.environment import Environment
    from pyebpf.runtime.vm.load import MachineObject, MachineProgram

    Machine: TypeAlias = World[MachineProgram, MachineData]
    AnyWorld: TypeAlias = World[LoadedProgram, LoadedData] | Machine

T = TypeVar("T")
L = TypeVar("L", bound="Link")


class ImportOnly(PyebpfError):
    """A file that is only being imported (for ``build``, ``check``, ``dump``) tried to load or attach."""


class InMachine(PyebpfError):
    """Inside ``with machine():`` a program was to be loaded or attached, which only the kernel can do."""


class MachineWarning(UserWarning):
    """The process may not load programs, so its programs run in the built-in machine."""


# ---------------------------------------------------------------- which world


def _load_into_kernel(
    ready: Ready, *, maps: Mapping[str, Map], data: Mapping[str, LoadedData], log_level: int
) -> LoadedObject:
    if sys.platform != "linux":
        detail = f"bpf(2) exists on Linux only, this is {sys.platform}"
        raise NotSupported(errno.ENOSYS, Phase.PROG_LOAD, detail=detail)
    from pyebpf.runtime.load import load as load_spec

    return load_spec(ready.prepared or ready.object, maps=maps, data=data, log_level=log_level)


def _new_machine(environment: Environment | None = None) -> Machine:
    def load_into_machine(
        ready: Ready, *, maps: Mapping[str, Map], data: Mapping[str, MachineData], log_level: int
    ) -> MachineObject:
        from pyebpf.runtime.vm.load import load as load_spec

        return load_spec(ready.object, maps=maps, data=data, environment=environment)

    return World(load_into_machine)


_kernel: World[LoadedProgram, LoadedData] = World(_load_into_kernel)
_fallback: Machine | None = None
_opened: list[Machine] = []
_making = RLock()  # threads that need a program or map first get the same one
_importing: list[Path] = []


@contextlib.contextmanager
def importing(path: Path) -> Iterator[None]:
    """While the block runs, loading raises ``ImportOnly``: the file is imported for its declarations only."""
    _importing.append(path)
    try:
        yield
    finally:
        _importing.pop()


@contextlib.contextmanager
def machine(environment: Environment | None = None) -> Iterator[Environment]:
    """Inside the block every program, map and variable lives in a fresh built-in machine, whoever runs it.

    Maps are empty and variables have their initial values at its start, and everything is as it was before at its
    end. Nothing can be loaded or attached inside. ``environment``: the clock, chance, CPU and task that programs
    see, instead of the process' own; the block gets it and may change it. Blocks nest; the innermost counts, for all
    threads.
    """
    if environment is None:
        from pyebpf.runtime.vm.environment import Environment

        environment = Environment()
    world = _new_machine(environment)
    _opened.append(world)
    try:
        yield environment
    finally:
        _opened.remove(world)
        world.close()


def _world() -> AnyWorld:
    return _opened[-1] if _opened else _fallback or _kernel


def in_machine() -> bool:
    """Whether maps and ``run`` mean the built-in machine now."""
    return _world() is not _kernel


def only_in_kernel(what: str) -> None:
    """Raise ``InMachine`` inside ``with machine():``, where nothing may reach the kernel."""
    if _opened:
        raise InMachine(
            f"{what} cannot be loaded inside `with bpf.machine():`, where nothing reaches the kernel; load it outside"
        )


def _import_only(what: str) -> ImportOnly:
    return ImportOnly(
        f"{_importing[-1]}: {what} while the file is only being imported; "
        'put what runs the program under `if __name__ == "__main__":`'
    )


def _refuses_us(error: BpfError) -> bool:
    """Whether the kernel refuses this process rather than what it asked for."""
    return isinstance(error, PermissionDenied) or error.errno == errno.ENOSYS


def _here(use: Callable[[AnyWorld], T], what: str) -> T:
    """Do something in the current world; where the kernel refuses the process, in the machine from now on."""
    if _importing:
        raise _import_only(what)
    with _making:
        return _use_or_fall_back(use)


def _use_or_fall_back(use: Callable[[AnyWorld], T]) -> T:
    global _fallback
    try:
        return use(_world())
    except BpfError as error:
        if in_machine() or not _refuses_us(error):
            raise
        if not _kernel.empty:
            error.detail += (
                "; what it shares with others is in the kernel: use `with bpf.machine():` for all of it"
            )
            raise
        _fallback = _new_machine()
        why = error.detail or "the kernel has no bpf(2)"
        warnings.warn(
            f"programs run in the built-in machine, not in the kernel: {why}", MachineWarning, _users_level()
        )
    return use(_world())


def _users_level() -> int:
    """The ``stacklevel`` of the first frame outside of pyebpf, for a warning in the caller."""
    level, frame = 1, sys._getframe(1)
    while frame.f_back is not None and frame.f_globals.get("__name__", "").partition(".")[0] == "pyebpf":
        frame = frame.f_back
        level += 1
    return level


# ---------------------------------------------------------------- maps and variables


def find_map(decl: MapDecl) -> Map | None:
    """The map of a declaration if there is one already."""
    return _world().find_map(decl)


def live_map(decl: MapDecl) -> Map:
    """The map of a declaration, made now if there is none."""
    return _here(lambda world: world.map(decl), f"map {decl.name or ''} is used".replace("  ", " "))


def close_map(decl: MapDecl) -> None:
    """Close the map of a declaration, if there is one."""
    _world().close_map(decl)


def read_global(decl: GlobalDecl) -> Any:
    """The value of a variable: of the loaded program, or the initial one before loading."""
    return _world().read(decl)


def write_global(decl: GlobalDecl, value: Any) -> None:
    """Set a variable. Raises ``BpfError`` for a constant of a loaded program."""
    _world().write(decl, value)


# ---------------------------------------------------------------- programs


def check_loading(decl: ProgramDecl) -> None:
    """Raise ``ImportOnly`` or ``InMachine`` where no program may be loaded now."""
    if _importing:
        raise _import_only(f"program {decl.name} is loaded")
    if _opened:
        raise InMachine(
            f"program {decl.name} cannot be loaded inside `with bpf.machine():`, where nothing reaches the kernel; "
            "run it on data, or load it outside"
        )


def load_program(decl: ProgramDecl, log_level: int = 0) -> LoadedProgram:
    """The kernel's program of a declaration: compiled and loaded now if it is not, or if a log is wanted.

    Raises ``InMachine`` inside ``with machine():``, and ``PermissionDenied`` with the missing capability.
    """
    check_loading(decl)
    try:
        with _making:
            return _kernel.program(decl, log_level)
    except BpfError as error:
        if not _refuses_us(error):
            raise
        raise _denied(decl, error) from None


def _denied(decl: ProgramDecl, error: BpfError) -> BpfError:
    """One sentence instead of the first thing that the kernel refused on the way to the program."""
    way_out = f"{decl.name}.run(data) runs it in the built-in machine"
    if not decl.kind.test_run:
        way_out = f"{decl.name}.run(data, machine=True) runs it in the built-in machine"
    cls = PermissionDenied if isinstance(error, PermissionDenied) else NotSupported
    detail = error.detail or "the kernel has no bpf(2)"
    if isinstance(error, PermissionDenied) and lacking(program_need(decl.kind.prog_type)):
        detail = explain_denial(program_need(decl.kind.prog_type))
    number = error.errno or errno.EPERM
    return cls(number, Phase.PROG_LOAD, repr(decl.name), detail=f"{detail}; {way_out}")


def loaded_here(decl: ProgramDecl) -> LiveProgram:
    """The program of a declaration where maps are now, in the kernel or in the machine."""
    found: LiveProgram = _here(lambda world: world.program(decl), f"program {decl.name} is used")
    return found


def run_program(
    decl: ProgramDecl, data: bytes, *, repeat: int, context: bytes | None, ask_machine: bool
) -> RunResult:
    """Run a program on data in the current world; ``ask_machine``: in a machine, one of its own where the process
    uses the kernel. Raises ``NotSupported`` for kinds without a test run unless the machine was asked for."""
    program = loaded_here(decl) if not ask_machine or in_machine() else None
    if program is None:
        with machine():
            return loaded_here(decl).run(data, repeat=repeat, ctx=context)
    if not (decl.kind.test_run or ask_machine or _opened or not in_machine()):
        detail = (
            f"the kernel has no test run for {decl.kind.prog_type.name} programs; "
            "run(…, machine=True) runs it in the built-in machine all the same"
        )
        raise NotSupported(errno.EOPNOTSUPP, Phase.PROG_RUN, repr(decl.name), detail=detail)
    return program.run(data, repeat=repeat, ctx=context)


def is_loaded(decl: ProgramDecl) -> bool:
    """Whether the program is in the kernel."""
    return _kernel.has_program(decl)


def keep_link(decl: ProgramDecl, link: L) -> L:
    """Remember an attachment, so that closing the program detaches it."""
    _kernel.keep_link(decl, link)
    return link


def close_program(decl: ProgramDecl) -> None:
    """Detach what this process attached and close the program; maps and variables stay, constants can be set again."""
    _world().close_program(decl)


def withdraw(decl: ProgramDecl) -> None:
    """Take a program out of the kernel and of the machines: it has been declared anew."""
    for world in (_kernel, _fallback, *_opened):
        if world is not None:
            world.close_program(decl)
