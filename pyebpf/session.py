"""What this process has in the kernel: loaded programs, live maps and variables, links.

A declaration stands for at most one kernel object at a time: programs loaded apart that name the same map or
global share it. Everything is let go of when the declaration goes away, by ``close``, or at the end of the process.
"""

from __future__ import annotations

import contextlib
import socket as sockets
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

from pyebpf.declare import GlobalDecl, MapDecl, ProgramDecl
from pyebpf.diagnostics import PyebpfError
from pyebpf.driver import Compiled, compile_programs, default_section, module_globals
from pyebpf.frontend import tree
from pyebpf.frontend.build_data import map_spec
from pyebpf.object import ObjectSpec
from pyebpf.runtime.attach.link import Link
from pyebpf.runtime.data import LoadedData
from pyebpf.runtime.load import LoadedObject, LoadedProgram, load_object
from pyebpf.runtime.load import load as load_spec
from pyebpf.runtime.maps import Map
from pyebpf.runtime.pinned import open_pinned
from pyebpf.runtime.trace import trace_print
from pyebpf.uapi.constants import AttachType, ProgType

__all__ = ["load", "open_pinned", "raw_socket", "trace_print"]


class ImportOnly(PyebpfError):
    """A file that is only being imported (for ``build``, ``check``, ``dump``) tried to load or attach."""


@dataclass(slots=True)
class _Section:
    """Variables of user modules that share one loaded data section."""

    decls: tuple[GlobalDecl, ...]
    data: LoadedData


@dataclass(slots=True)
class _Loaded:
    """A program in the kernel with what its load made, and the links of this process."""

    object: LoadedObject
    program: LoadedProgram
    links: list[Link]


_maps: WeakKeyDictionary[MapDecl, LoadedObject] = WeakKeyDictionary()
_sections: WeakKeyDictionary[GlobalDecl, _Section] = WeakKeyDictionary()
_programs: WeakKeyDictionary[ProgramDecl, _Loaded] = WeakKeyDictionary()
_importing: list[Path] = []


@contextlib.contextmanager
def importing(path: Path) -> Iterator[None]:
    """While the block runs, loading raises ``ImportOnly``: the file is imported for its declarations only."""
    _importing.append(path)
    try:
        yield
    finally:
        _importing.pop()


def _may_load(what: str) -> None:
    if _importing:
        raise ImportOnly(
            f"{_importing[-1]}: {what} while the file is only being imported; "
            'put what runs the program under `if __name__ == "__main__":`'
        )


# ---------------------------------------------------------------- maps


def live_map(decl: MapDecl) -> Map:
    """The kernel's map of a declaration, made now if there is none."""
    found = _maps.get(decl)
    if found is None:
        _may_load(f"map {decl.name or ''} is used".replace("  ", " "))
        from pyebpf import btf

        named = decl.name is not None
        if not named:
            decl.name = "map"
        try:
            spec = map_spec(decl)
        finally:
            if not named:
                decl.name = None
        spec.key_type = btf.from_layout(decl.key) if decl.key is not None else None
        spec.value_type = btf.from_layout(decl.value) if decl.value is not None else None
        found = _maps[decl] = load_spec(ObjectSpec(maps={spec.name: spec}))
    return next(iter(found.maps.values()))


def close_map(decl: MapDecl) -> None:
    """Close the kernel's map of a declaration, if there is one."""
    found = _maps.pop(decl, None)
    if found is not None:
        found.close()


# ---------------------------------------------------------------- variables


def read_global(decl: GlobalDecl) -> Any:
    """The value of a variable: what the kernel holds once a program with it is loaded, else the initial one."""
    section = _sections.get(decl)
    return decl.initial if section is None else section.data.read(str(decl.name))


def write_global(decl: GlobalDecl, value: Any) -> None:
    """Set a variable. Raises ``BpfError`` for a constant of a loaded program."""
    section = _sections.get(decl)
    if section is None:
        decl.initial = value
    else:
        section.data.write(str(decl.name), value)


def _place(unit: tree.Unit) -> None:
    """Give the unit's variables their sections so that those in the kernel already are found where they are.

    Variables of one module that are not loaded yet go into one section of each kind, used by this program or
    not, so that the next program of the module finds them. A section that exists keeps its variables, in order.
    """
    declared = module_globals(p.program for p in unit.programs if p.program is not None)
    wanted = list(dict.fromkeys([*unit.globals, *declared]))
    groups: dict[int, list[GlobalDecl]] = {}
    fresh: dict[str, list[GlobalDecl]] = {}
    for decl in wanted:
        section = _sections.get(decl)
        if section is None or decl.constant:
            fresh.setdefault(default_section(decl), []).append(decl)
        elif decl in unit.globals:
            groups[id(section)] = list(section.decls)
    placed: list[GlobalDecl] = []
    taken: set[str] = set()
    for members in [*groups.values(), *fresh.values()]:
        base = ".rodata" if members[0].constant else ".data" if groups else default_section(members[0])
        name, number = base, 1
        while name in taken:
            number += 1
            name = f"{base}.{number}"
        taken.add(name)
        for decl in members:
            decl.section = name
        placed += members
    unit.globals[:] = placed


def _live_sections(compiled: Compiled) -> dict[str, LoadedData]:
    found: dict[str, LoadedData] = {}
    for decl in compiled.unit.globals:
        section = _sections.get(decl)
        if section is not None and decl.section is not None and not decl.constant:
            found[decl.section] = section.data
    return found


def _remember_sections(compiled: Compiled, loaded: LoadedObject) -> None:
    by_section: dict[str, list[GlobalDecl]] = {}
    for decl in compiled.unit.globals:
        if decl.section is not None:
            by_section.setdefault(decl.section, []).append(decl)
    for name, decls in by_section.items():
        data = loaded.data.get(name)
        if data is not None:
            section = _Section(tuple(decls), data)
            for decl in decls:
                _sections[decl] = section


# ---------------------------------------------------------------- programs


def load_program(decl: ProgramDecl, log_level: int = 0) -> LoadedProgram:
    """The kernel's program of a declaration: compiled and loaded now if it is not, or if a log is wanted."""
    found = _programs.get(decl)
    if found is not None and not log_level:
        return found.program
    _may_load(f"program {decl.name} is loaded")
    compiled = compile_programs([decl], place=_place)
    maps = {str(m.name): live_map(m) for m in compiled.unit.maps}
    loaded = load_spec(compiled.object, maps=maps, data=_live_sections(compiled), log_level=log_level)
    _remember_sections(compiled, loaded)
    links = [] if found is None else found.links
    _programs[decl] = _Loaded(loaded, loaded.programs[decl.name], links)
    return loaded.programs[decl.name]


def is_loaded(decl: ProgramDecl) -> bool:
    """Whether the program is in the kernel."""
    return decl in _programs


def keep_link(decl: ProgramDecl, link: Link) -> Link:
    """Remember an attachment, so that closing the program detaches it."""
    links = _programs[decl].links
    links[:] = [*(one for one in links if one.attached), link]
    return link


def close_program(decl: ProgramDecl) -> None:
    """Detach what this process attached and close the program; maps and variables stay, constants can be set again."""
    found = _programs.pop(decl, None)
    if found is None:
        return
    with contextlib.ExitStack() as stack:
        stack.callback(found.program.close)
        for data in found.object.data.values():
            users = [user for user, section in _sections.items() if section.data is data]
            if all(user.constant for user in users):
                stack.callback(data.close)
                for user in users:
                    del _sections[user]
        for link in found.links:
            stack.callback(link.close)


# ---------------------------------------------------------------- objects of others, sockets


def load(
    path: str | Path | bytes,
    *,
    types: Mapping[str, tuple[ProgType, AttachType | None]] | None = None,
    log_level: int = 0,
) -> LoadedObject:
    """Load an object file: ours, clang's, anybody's.

    ``types``: program types and attach types by program name, instead of what the section names say. Raises
    ``ElfError`` for a file that cannot be read and ``BpfError`` for what the kernel refuses.
    """
    if not types:
        return load_object(path, log_level=log_level)
    from pyebpf.backend.elf import read_object

    data = path if isinstance(path, bytes) else Path(path).read_bytes()
    spec = read_object(data, "object" if isinstance(path, bytes) else Path(path).name)
    for name, (prog_type, attach_type) in types.items():
        if name not in spec.programs:
            raise KeyError(f"the object has no program {name!r}; it has {', '.join(spec.programs)}")
        spec.programs[name].prog_type = prog_type
        spec.programs[name].attach_type = attach_type
    return load_spec(spec, log_level=log_level)


def raw_socket(interface: str) -> sockets.socket:
    """A packet socket that receives every frame of ``interface``, Ethernet header first. Needs CAP_NET_RAW."""
    sock = sockets.socket(sockets.AF_PACKET, sockets.SOCK_RAW, 0)
    try:
        sock.bind((interface, 0x0003))
    except BaseException:
        sock.close()
        raise
    return sock
