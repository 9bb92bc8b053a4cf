"""Names for maps, globals and function instances: from the variables that refer to them, unique, C identifiers."""

from __future__ import annotations

import re
from collections.abc import Sequence

from pyebpf.codes import Code
from pyebpf.declare import GlobalDecl, MapDecl, ProgramDecl, declaration_of
from pyebpf.diagnostics import Diagnostic
from pyebpf.frontend import tree
from pyebpf.frontend.session import Instance

_IDENTIFIER = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")


def name_declarations(
    programs: Sequence[ProgramDecl], reached: Sequence[Instance], unit: tree.Unit
) -> list[Diagnostic]:
    """Set the names of the unit's maps, globals and functions; the reasons why that is not possible."""
    found = _names(programs, reached)
    problems: list[Diagnostic] = []
    taken: dict[str, MapDecl | GlobalDecl] = {}
    span = reached[0].function.span if reached else None
    declarations: list[MapDecl | GlobalDecl] = [*unit.maps, *unit.globals]
    for decl in declarations:
        if decl.name is None:
            decl.name = found.get(id(decl), "map" if isinstance(decl, MapDecl) else "variable")
            base, number = decl.name, 1
            while decl.name in taken:
                number += 1
                decl.name = f"{base}_{number}"
        if not _IDENTIFIER.match(decl.name) and span is not None:
            problems.append(
                Diagnostic(
                    Code.E0208, f"`{decl.name}` is not a C identifier, as the name of a map must be", span
                )
            )
        elif decl.name in taken and span is not None:
            problems.append(
                Diagnostic(
                    Code.E0208,
                    f"two declarations have the name `{decl.name}`",
                    span,
                    notes=("the kernel and other loaders find maps and variables by name",),
                    help=("give one of them another name: `name=…`",),
                )
            )
        taken[decl.name] = decl
    for number, program in enumerate(unit.programs):
        if any(other.name == program.name for other in unit.programs[:number]):
            problems.append(
                Diagnostic(
                    Code.E0208,
                    f"two programs have the name `{program.name}`",
                    program.span,
                    notes=("the kernel and other loaders find programs by name",),
                    help=("give one of them another name: `name=…` in its decorator",),
                )
            )
    _name_functions(unit)
    return problems


def _names(programs: Sequence[ProgramDecl], reached: Sequence[Instance]) -> dict[int, str]:
    """The variable that refers to each declaration: of the closures first, then of the modules."""
    names: dict[int, str] = {}
    functions = [decl.function for decl in programs] + [instance.scope.function for instance in reached]
    for function in functions:
        cells = zip(function.__code__.co_freevars, function.__closure__ or (), strict=True)
        for name, cell in cells:
            try:
                value = cell.cell_contents
            except ValueError:
                continue
            _note(names, name, value)
    for function in functions:
        for name, value in function.__globals__.items():
            _note(names, name, value)
            if isinstance(value, type(re)):
                for inner, member in vars(value).items():
                    _note(names, inner, member)
    return names


def _note(names: dict[int, str], name: str, value: object) -> None:
    declaration = declaration_of(value) if not isinstance(value, type(re)) else None
    if isinstance(declaration, MapDecl | GlobalDecl):
        names.setdefault(id(declaration), name)


def _name_functions(unit: tree.Unit) -> None:
    """Instances of one function, and functions of one name, get numbers."""
    taken = {function.name for function in unit.programs}
    for function in unit.functions:
        base, number = function.name, 1
        while function.name in taken:
            number += 1
            function.name = f"{base}_{number}"
        taken.add(function.name)
