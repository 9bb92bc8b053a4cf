"""A world: where the declarations of this process come alive as programs, maps and variables.

There is the kernel, and there are built-in machines; ``pyebpf.session`` says which one is meant. In one world a
declaration stands for at most one object: programs loaded apart that name the same map or global share it.
Everything is let go of when the declaration goes away, by ``close``, or at the end of the process.
"""

from __future__ import annotations

import contextlib
import sys
from weakref import WeakKeyDictionary

from pyebpf import cache
from pyebpf.declare import Buffers, GlobalDecl, MapDecl, ProgramDecl
from pyebpf.driver import (
    Codegen,
    chosen_codegen,
    compile_programs,
    default_section,
    module_globals,
    running_target,
)
from pyebpf.hints import TYPE_CHECKING, Any, Generic, TypeVar
from pyebpf.ready import Ready
from pyebpf.records import dataclass, field

if TYPE_CHECKING:
    from pyebpf.fingerprint import Fingerprint
    from pyebpf.frontend import tree
    from pyebpf.live import Attachment, LiveData, LiveObject, LiveProgram, Loader
    from pyebpf.runtime.maps import Map


P = TypeVar("P", bound="LiveProgram")
D = TypeVar("D", bound="LiveData")


@dataclass(slots=True)
class _Section(Generic[D]):
    """Variables of user modules that share one loaded data section."""

    decls: tuple[GlobalDecl, ...]
    data: D


@dataclass(slots=True)
class _Loaded(Generic[P, D]):
    """A program with what its load made, and the attachments of this process."""

    object: LiveObject[P, D]
    program: P
    links: list[Attachment] = field(default_factory=list)


class World(Generic[P, D]):
    """The live maps, variables and programs of one place; ``load`` is the only thing in which places differ."""

    def __init__(self, load: Loader[P, D]) -> None:
        self._load = load
        self._maps: WeakKeyDictionary[MapDecl, LiveObject[P, D]] = WeakKeyDictionary()
        self._sections: WeakKeyDictionary[GlobalDecl, _Section[D]] = WeakKeyDictionary()
        self._programs: WeakKeyDictionary[ProgramDecl, _Loaded[P, D]] = WeakKeyDictionary()
        self._initial: WeakKeyDictionary[GlobalDecl, Any] = WeakKeyDictionary()

    @property
    def empty(self) -> bool:
        """Whether nothing of this process is here."""
        return not self._maps and not self._programs

    def close(self) -> None:
        """Let go of everything, and give variables the initial values back that were changed meanwhile."""
        with contextlib.ExitStack() as stack:
            for declared in list(self._maps):
                stack.callback(self.close_map, declared)
            for program in list(self._programs):
                stack.callback(self.close_program, program)
            for variable, initial in self._initial.items():
                variable.initial = initial
            self._sections.clear()

    # ---------------------------------------------------------------- maps

    def map(self, decl: MapDecl, of: Ready | None = None) -> Map:
        """The map of a declaration, made now if there is none. ``of``: what has been made ready with it."""
        found = self._maps.get(decl)
        if found is None:
            found = self._load(Ready.map(decl, of), maps={}, data={}, log_level=0)
            if decl.buffers is not None:
                self._open_buffers(decl.buffers, found)
            self._maps[decl] = found
        return next(iter(found.maps.values()))

    def _open_buffers(self, buffers: Buffers, made: LiveObject[P, D]) -> None:
        from pyebpf.runtime.perf_events import PerfEventArray

        try:
            for one in made.maps.values():
                if isinstance(one, PerfEventArray):
                    one.open(buffers.pages, buffers.wakeup)
        except BaseException:
            made.close()
            raise

    def find_map(self, decl: MapDecl) -> Map | None:
        """The map of a declaration if there is one."""
        found = self._maps.get(decl)
        return None if found is None else next(iter(found.maps.values()))

    def close_map(self, decl: MapDecl) -> None:
        """Close the map of a declaration, if there is one."""
        found = self._maps.pop(decl, None)
        if found is not None:
            found.close()

    # ---------------------------------------------------------------- variables

    def read(self, decl: GlobalDecl) -> Any:
        """The value of a variable: of the loaded program, or the initial one before loading."""
        section = self._sections.get(decl)
        return decl.initial if section is None else section.data.read(str(decl.name))

    def write(self, decl: GlobalDecl, value: Any) -> None:
        """Set a variable. Raises ``BpfError`` for a constant of a loaded program."""
        section = self._sections.get(decl)
        if section is None:
            self._initial.setdefault(decl, decl.initial)
            decl.initial = value
        else:
            section.data.write(str(decl.name), value)

    def _place(self, unit: tree.Unit) -> None:
        """Give the unit's variables their sections so that those that live already are found where they are.

        Variables of one module that are not loaded yet go into one section of each kind, used by this program or
        not, so that the next program of the module finds them. A section that exists keeps its variables, in order.
        """
        declared = module_globals(p.program for p in unit.programs if p.program is not None)
        wanted = list(dict.fromkeys([*unit.globals, *declared]))
        groups: dict[int, list[GlobalDecl]] = {}
        fresh: dict[str, list[GlobalDecl]] = {}
        for decl in wanted:
            section = self._sections.get(decl)
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

    def _live_sections(self, ready: Ready) -> dict[str, D]:
        found: dict[str, D] = {}
        for decl in ready.globals:
            section = self._sections.get(decl)
            if section is not None and decl.section is not None and not decl.constant:
                found[decl.section] = section.data
        return found

    def _remember_sections(self, ready: Ready, loaded: LiveObject[P, D]) -> None:
        by_section: dict[str, list[GlobalDecl]] = {}
        for decl in ready.globals:
            if decl.section is not None:
                by_section.setdefault(decl.section, []).append(decl)
        for name, decls in by_section.items():
            data = loaded.data.get(name)
            if data is not None:
                section = _Section(tuple(decls), data)
                for decl in decls:
                    self._sections[decl] = section

    # ---------------------------------------------------------------- programs

    def program(self, decl: ProgramDecl, log_level: int = 0) -> P:
        """The program of a declaration: compiled and loaded now if it is not, or if a log is wanted."""
        found = self._programs.get(decl)
        if found is not None and not log_level:
            return found.program
        ready = self._compiled(decl)
        made = [m for m in ready.maps if m not in self._maps]
        try:
            maps = {str(m.name): self.map(m, ready) for m in ready.maps}
            sections = self._live_sections(ready)
            loaded = self._load(ready, maps=maps, data=sections, log_level=log_level)
        except BaseException:
            for declared in made:
                self.close_map(declared)
            raise
        self._remember_sections(ready, loaded)
        if "IPython" in sys.modules:
            from pyebpf import cells

            cells.loaded(decl)
        links = [] if found is None else found.links
        self._programs[decl] = _Loaded(loaded, loaded.programs[decl.name], links)
        return loaded.programs[decl.name]

    def _compiled(self, decl: ProgramDecl) -> Ready:
        """The object of a program: from the cache if it is there, else compiled."""
        target = running_target()
        key = cache.key_of(decl, target) if chosen_codegen() is Codegen.PYEBPF else None
        if key is not None and not self._add_sections(key):
            key = None
        found = None if key is None else cache.find(key)
        if found is not None:
            return found
        compiled = compile_programs([decl], target, place=self._place)
        ready = Ready.of(compiled)
        if key is not None:
            cache.store(key, compiled, ready)
        return ready

    def _add_sections(self, key: Fingerprint) -> bool:
        """Add to a key which of its variables live already and in what company, which decides where all are placed.

        False where one shares its section with a variable that the key does not know.
        """
        numbers = {decl: number for number, decl in enumerate(key.declarations)}
        for decl in key.declarations:
            section = self._sections.get(decl) if isinstance(decl, GlobalDecl) else None
            if section is not None:
                if not numbers.keys() >= set(section.decls):
                    return False
                key.text += f"\nlives {numbers[decl]} {[numbers[other] for other in section.decls]}"
        return True

    def has_program(self, decl: ProgramDecl) -> bool:
        """Whether the program is loaded here."""
        return decl in self._programs

    def keep_link(self, decl: ProgramDecl, link: Attachment) -> None:
        """Remember an attachment, so that closing the program detaches it."""
        links = self._programs[decl].links
        links[:] = [*(one for one in links if one.attached), link]

    def close_program(self, decl: ProgramDecl) -> None:
        """Detach what this process attached and close the program; maps and variables stay, constants can be set
        again."""
        found = self._programs.pop(decl, None)
        if found is None:
            return
        with contextlib.ExitStack() as stack:
            stack.callback(found.program.close)
            for data in found.object.data.values():
                users = [user for user, section in self._sections.items() if section.data is data]
                if all(user.constant for user in users):
                    stack.callback(data.close)
                    for user in users:
                        del self._sections[user]
            for link in found.links:
                stack.callback(link.close)
