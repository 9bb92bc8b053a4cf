"""From an ``ObjectSpec`` to programs and maps in the kernel.

The order matters: programs are linked first, because their debug information goes into the type
information, which maps refer to, which programs refer to; program arrays are filled last. On any failure
everything made so far is closed and pins made now are removed.
"""

from __future__ import annotations

import contextlib
import os
import sys
import warnings
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from types import TracebackType

from pyebpf.hints import TYPE_CHECKING
from pyebpf.object import MapSpec, ObjectSpec, Prepared, PreparedProgram, Relocation, RelocKind
from pyebpf.records import dataclass, field, replace
from pyebpf.runtime.errors import BpfError, CoreError, LoadWarning, ObjectError, PermissionDenied
from pyebpf.runtime.fd import Fd
from pyebpf.runtime.map_create import MapBtf, check_same, open_or_create
from pyebpf.runtime.maps import Map, MappingMap
from pyebpf.runtime.prog_load import load_btf, load_program
from pyebpf.runtime.program import LoadedProgram
from pyebpf.runtime.references import KernelFunction, KernelSymbol, MapAddress, resolve
from pyebpf.uapi.constants import MapType, ProgType

if TYPE_CHECKING:
    from pathlib import Path
    from typing import Final, Self

    from pyebpf.btf import Spec
    from pyebpf.runtime.core import Relocator
    from pyebpf.runtime.data import LoadedData
    from pyebpf.runtime.externs import Externs

__all__ = ["LoadedObject", "LoadedProgram", "load", "load_object"]

_KCONFIG: Final = ".kconfig"
_FOR_ONE_PLACE: Final = frozenset({ProgType.TRACING, ProgType.LSM, ProgType.EXT, ProgType.STRUCT_OPS})
"""Types of programs that are loaded for one place, which ``attach_target`` finds."""


@dataclass(slots=True)
class LoadedObject:
    """Programs, maps and data sections in the kernel, by name. ``close`` (or ``with``) closes what ``load``
    made; maps that were passed in stay open."""

    programs: dict[str, LoadedProgram] = field(default_factory=dict)
    maps: dict[str, Map] = field(default_factory=dict)
    data: dict[str, LoadedData] = field(default_factory=dict)
    _owned: ExitStack = field(default_factory=ExitStack)

    def close(self) -> None:
        """Close programs, maps and data; again is harmless. Links and pins keep what they refer to."""
        self._owned.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def load(
    spec: ObjectSpec | Prepared,
    *,
    maps: Mapping[str, Map] | None = None,
    data: Mapping[str, LoadedData] | None = None,
    log_level: int = 0,
    pin_directory: str | os.PathLike[str] | None = None,
    func_info: bool = True,
    kernel_types: Spec | None = None,
) -> LoadedObject:
    """Load every program of ``spec`` that is to be loaded, with its maps and data.

    Args:
        spec: the object. Program types, attach types, contents of data and sizes of maps may be changed
        before; or what ``prepare`` made of it.
        maps: existing maps to use under these names; they are checked to fit and stay the caller's.
        data: the same for data sections.
        log_level: of the verifier's log, kept in ``LoadedProgram.log``: bits 1, 2, 4.
        pin_directory: where maps with pinning by name are looked for and pinned; /sys/fs/bpf by default.
        func_info: ``False`` leaves out which type each function has (to show what the kernel says then).
        kernel_types: what references to the kernel's types are filled in by, instead of what the running kernel tells
        (for kernels that do not tell; a file of their types from elsewhere).

    Raises:
        VerifierError: a program was refused; the log says why.
        PermissionDenied: a capability is missing; the message says which.
        BpfError: the kernel refused something else.
        ObjectError: the object is inconsistent; ``UnsupportedObject`` if it needs what this loader cannot do.
    """
    with ExitStack() as made, ExitStack() as while_loading:
        whole = spec.object if isinstance(spec, Prepared) else spec
        loading = _Loading(
            whole, dict(maps or {}), dict(data or {}), log_level, func_info, made, while_loading, kernel_types
        )
        try:
            loading.check()
            loading.prepare(spec)
            loading.load_types()
            loading.make_maps(pin_directory)
            loading.load_programs()
            loading.fill_slots()
        except BaseException:
            for pin in loading.pins:
                pin.unlink(missing_ok=True)
            raise
        loading.result._owned = made.pop_all()
    return loading.result


def load_object(
    source: str | os.PathLike[str] | bytes,
    *,
    maps: Mapping[str, Map] | None = None,
    log_level: int = 0,
    pin_directory: str | os.PathLike[str] | None = None,
    kernel_types: Spec | None = None,
) -> LoadedObject:
    """Read an ELF object, from a file or from bytes, and ``load`` it. To change it before, use
    ``pyebpf.backend.elf.read_object``."""
    from pathlib import Path

    from pyebpf.backend.elf import read_object

    contents = source if isinstance(source, bytes) else Path(source).read_bytes()
    return load(
        read_object(contents),
        maps=maps,
        log_level=log_level,
        pin_directory=pin_directory,
        kernel_types=kernel_types,
    )


def _load_types(data: bytes) -> Fd | None:
    """Load type information as it is, else without the kinds that this kernel lacks, else not at all."""
    try:
        return load_btf(data)
    except PermissionDenied:
        raise
    except BpfError as error:
        refused = error
    from pyebpf.runtime.btf_simplify import simplify, unknown_kinds

    unknown = unknown_kinds()
    if unknown:
        names = ", ".join(sorted(kind.name for kind in unknown))
        with contextlib.suppress(BpfError):
            fd = load_btf(simplify(data, unknown))
            warnings.warn(f"this kernel has no BTF kinds {names}: left out", LoadWarning, stacklevel=4)
            return fd
    warnings.warn(f"loading goes on without type information: {refused}", LoadWarning, stacklevel=4)
    return None


@dataclass(slots=True)
class _Loading:
    """One run of ``load``: each method is a step and leaves what the next ones need."""

    spec: ObjectSpec
    given_maps: dict[str, Map]
    given_data: dict[str, LoadedData]
    log_level: int
    func_info: bool
    made: ExitStack
    while_loading: ExitStack
    kernel_types: Spec | None = None
    result: LoadedObject = field(default_factory=LoadedObject)
    prepared: Prepared = field(init=False)
    types: Fd | None = None
    pins: list[Path] = field(default_factory=list)
    _externs: Externs | None = None
    _relocator: Relocator | None = None
    _core_types: Spec | None = None

    def check(self) -> None:
        """Refuse what cannot be loaded here at all."""
        if self.spec.little_endian != (sys.byteorder == "little"):
            raise ObjectError(f"the object is for another byte order than this machine's, {sys.byteorder}")
        for name in self.given_maps.keys() - self.spec.maps.keys():
            raise ObjectError(f"the object has no map {name!r} that a map could be given for")
        for name in self.given_data.keys() - self.spec.data.keys():
            raise ObjectError(f"the object has no data section {name!r} that one could be given for")
        for program in self.spec.programs.values():
            if program.autoload and program.prog_type in _FOR_ONE_PLACE:
                from pyebpf.runtime.attach_target import check_target

                check_target(program)

    def prepare(self, spec: ObjectSpec | Prepared) -> None:
        """Put every program together, and collect all types and strings, if that has not been done before."""
        if not isinstance(spec, Prepared):
            from pyebpf.runtime.prepare import prepare

            spec = prepare(spec)
        self.prepared = spec

    def load_types(self) -> None:
        """Load the type information, if there is any. Most programs work without, so a refusal is a
        warning."""
        if self.prepared.types:
            self.types = _load_types(self.prepared.types)
        if self.types is not None:
            self.made.enter_context(self.types)

    def make_maps(self, pin_directory: str | os.PathLike[str] | None) -> None:
        """Maps first, then data sections, then the inner maps' slots."""
        for name, map_spec in self.spec.maps.items():
            given = self.given_maps.get(name)
            if given is not None:
                check_same(map_spec, given)
                self.result.maps[name] = given
                continue
            made, new_pin = open_or_create(
                map_spec, self._types(self.prepared.map_types.get(name)), pin_directory
            )
            self.made.callback(made.close)
            if new_pin is not None:
                self.pins.append(new_pin)
            self.result.maps[name] = made
        for name, section in self.spec.data.items():
            if not section.contents:
                continue
            given_section = self.given_data.get(name)
            if given_section is None:
                from pyebpf.runtime.data import load_section

                given_section = load_section(
                    section, self._types((0, self.prepared.section_types.get(name, 0)))
                )
                self.made.callback(given_section.close)
            self.result.data[name] = given_section
        self._make_kconfig()
        for map_spec in self.spec.maps.values():
            if map_spec.type is not MapType.PROG_ARRAY:
                self._fill(map_spec, self.result.maps)

    def load_programs(self) -> None:
        """Fill in the references and load, in the object's order."""
        for prepared in self.prepared.programs:
            used = self._maps_of(prepared)
            code = bytearray(prepared.code)
            missing = dict(self._relocate(prepared, code)) if prepared.core else {}
            for absent in resolve(code, prepared.open, self):
                missing[absent.slot] = self._absent(absent.relocation.symbol)
            fd, log = load_program(
                prepared if self.func_info else replace(prepared, func_info=b""),
                code,
                self.spec.license,
                types=self.types,
                types_data=self.prepared.types,
                log_level=self.log_level,
                place=self._attach_place(prepared),
                modules=self._externs.table() if self._externs is not None else [],
                missing=missing,
            )
            program, name = prepared.program, prepared.program.name
            loaded = LoadedProgram(
                fd, name, program.prog_type, program.attach_type, log, used, program.arguments
            )
            self.made.callback(loaded.close)
            self.result.programs[name] = loaded

    def fill_slots(self) -> None:
        """Put programs into the program arrays."""
        for map_spec in self.spec.maps.values():
            if map_spec.type is MapType.PROG_ARRAY:
                self._fill(map_spec, self.result.programs)

    def _fill(self, map_spec: MapSpec, targets: Mapping[str, Map] | Mapping[str, LoadedProgram]) -> None:
        into = self.result.maps[map_spec.name]
        for index, target in map_spec.slots.items():
            found = targets.get(target)
            if found is None:
                raise ObjectError(
                    f"map {map_spec.name!r}: slot {index} is for {target!r}, which was not loaded"
                )
            assert isinstance(into, MappingMap)
            into[index] = found

    def _types(self, ids: tuple[int, int] | None) -> MapBtf | None:
        """The loaded type information for a map whose key and value have these ids in it, if any."""
        return MapBtf(self.types, *ids) if self.types is not None and ids is not None and any(ids) else None

    def _maps_of(self, prepared: PreparedProgram) -> tuple[Map, ...]:
        names = [r.relocation.symbol for r in prepared.open if r.relocation.kind is RelocKind.MAP]
        return tuple(self.result.maps[name] for name in dict.fromkeys(names) if name in self.result.maps)

    # ------------------------------------------------------------ the resolver of references

    def place(self, relocation: Relocation) -> MapAddress:
        """What a MAP or DATA relocation refers to."""
        if relocation.kind is RelocKind.MAP:
            found = self.result.maps.get(relocation.symbol)
            if found is None:
                raise ObjectError(
                    f"code refers to the map {relocation.symbol!r}, which the object does not have"
                )
            return MapAddress(found.fd)
        section, offset = self._variable(relocation)
        loaded = self.result.data.get(section)
        if loaded is None:
            raise ObjectError(f"code refers to the data section {section!r}, which is missing or empty")
        return MapAddress(loaded.map.fd, offset + relocation.addend)

    def _variable(self, relocation: Relocation) -> tuple[str, int]:
        if not relocation.symbol:
            return relocation.section, 0
        for name, section in self.spec.data.items():
            if relocation.section in ("", name):
                variable = section.variable(relocation.symbol)
                if variable is not None:
                    return name, variable.offset
        raise ObjectError(f"code refers to the variable {relocation.symbol!r}, which is in no data section")

    def function(self, symbol: str) -> KernelFunction | None:
        """The kernel function called ``symbol``; ``None`` for a weak one that is not there."""
        return self._lookup().function(symbol)

    def address(self, symbol: str) -> MapAddress | KernelSymbol | int:
        """Where an extern lies."""
        extern = self._lookup().extern(symbol)
        if extern.section != _KCONFIG:
            return self._lookup().address(symbol)
        variable = self.result.data[_KCONFIG].section.variable(symbol)
        assert variable is not None
        return MapAddress(self.result.data[_KCONFIG].map.fd, variable.offset)

    # ------------------------------------------------------------ what the running kernel knows

    def _make_kconfig(self) -> None:
        """The section of the configuration values that programs use, if they use any."""
        names = {
            reference.relocation.symbol
            for prepared in self.prepared.programs
            for reference in prepared.open
            if reference.relocation.kind is RelocKind.EXTERN
        }
        used = [e for e in self.spec.externs.values() if e.section == _KCONFIG and e.name in names]
        if not used:
            return
        from pyebpf.runtime.data import load_section
        from pyebpf.runtime.kconfig import kconfig_section

        loaded = load_section(kconfig_section(used), None)
        self.made.callback(loaded.close)
        self.result.data[_KCONFIG] = loaded

    def _lookup(self) -> Externs:
        if self._externs is None:
            from pyebpf.runtime.externs import Externs

            self._externs = Externs(self.spec.externs, self.while_loading.enter_context)
        return self._externs

    def _relocate(self, prepared: PreparedProgram, code: bytearray) -> Iterator[tuple[int, str]]:
        """Make the code fit the kernel's types; slots and texts of what it lacks."""
        from pyebpf.btf import Spec
        from pyebpf.runtime.core import Relocator, records

        if self._relocator is None or self._core_types is None:
            self._core_types = Spec(self.prepared.core_types)
            self._relocator = (
                Relocator.running() if self.kernel_types is None else Relocator(self.kernel_types)
            )
        try:
            for poison in self._relocator.apply(code, records(prepared, self._core_types)):
                yield poison.slot, poison.text
        except CoreError as error:
            raise CoreError(f"program {prepared.program.name!r}: {error}") from error

    def _absent(self, symbol: str) -> str:
        from pyebpf.runtime.kernel_btf import running_kernel

        return f"there is no kernel function `{symbol}` of this prototype on {running_kernel()}"

    def _attach_place(self, prepared: PreparedProgram) -> tuple[int, int]:
        """BTF id and descriptor of the module of the place that a program is loaded for; 0 for none."""
        if prepared.program.prog_type not in _FOR_ONE_PLACE:
            return 0, 0
        from pyebpf.runtime.attach_target import attach_target

        target = attach_target(prepared.program)
        if not target.module:
            return target.id, 0
        from pyebpf.runtime.kernel_modules import module_btf

        return target.id, self.while_loading.enter_context(module_btf(target.module)).fileno()
