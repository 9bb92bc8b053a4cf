"""The front end's entry point: from declared programs to a typed tree, or to every reason why not.

Importing this module loads the handlers of all syntax; ``analyze`` is the whole interface.
"""

from __future__ import annotations

from collections.abc import Sequence

from pyebpf.declare import ProgramDecl
from pyebpf.diagnostics import CompileError, Diagnostics, InternalError
from pyebpf.frontend import (  # noqa: F401  (imported for the handlers that they register)
    calls,
    comparisons,
    expressions,
    loops,
    matching,
    places,
    raising,
    statements,
    tree,
    withs,
)
from pyebpf.frontend.atomics import unaligned_updates
from pyebpf.frontend.coverage import Coverage
from pyebpf.frontend.instances import analyse, make_instance
from pyebpf.frontend.licence import unlicensed
from pyebpf.frontend.loop_drivers import balance
from pyebpf.frontend.naming import name_declarations
from pyebpf.frontend.parse import Parsed, parse_function
from pyebpf.frontend.program_arguments import entry_of, prologue
from pyebpf.frontend.results import error_verdict
from pyebpf.frontend.scope import Scope
from pyebpf.frontend.session import Context, Instance, Memory, Refused, Session
from pyebpf.frontend.types import NONE
from pyebpf.target import Target, TargetFacts


def analyze(
    programs: Sequence[ProgramDecl], target: Target, license: str | None, facts: TargetFacts | None = None
) -> tree.Unit:
    """The typed tree of ``programs`` and of all that they use.

    Args:
        programs: what to compile, in the order of the result.
        target: the kernel and instruction set that must take the programs.
        license: what the module states with ``bpf.license``, None if it states nothing.
        facts: what is known of the target's kernel beyond its release: types and events.

    Raises:
        CompileError: with every diagnostic of every function, in source order.
        InternalError: a mistake of the compiler.
    """
    session = Session(target, license, facts)
    entries = [(_program(session, decl), decl) for decl in programs]
    reached = _reached([instance for instance, _ in entries])
    found = Diagnostics()
    for instance in reached:
        for diagnostic in instance.diagnostics:
            found.report(diagnostic)
    found.raise_if_any()
    for instance in reached:
        if instance.failed:
            raise InternalError(
                "refused without a reason",
                phase="infer",
                function=instance.function.name,
                span=instance.function.span,
            )
    functions = [instance.function for instance in reached]
    alone = (tree.FunctionKind.ENTRY, tree.FunctionKind.GLOBAL)
    refused = balance(session, [function for function in functions if function.kind in alone])
    if refused:
        raise CompileError(refused)
    return _unit(programs, [instance for instance, _ in entries], reached, license)


def _program(session: Session, decl: ProgramDecl) -> Instance:
    parsed = parse_function(decl.function)
    scope = Scope(decl.function, parsed.node)
    header = _header(session, decl, parsed, scope)
    try:
        entry = entry_of(header, decl)
        verdict = error_verdict(header, decl)
    except Refused as refused:
        raise CompileError([refused.diagnostic]) from None
    params = entry.types
    instance = make_instance(parsed.source, scope, decl.kind, tree.FunctionKind.ENTRY, params)
    function = instance.function
    if entry.context is not None:
        instance.prologue += prologue(entry, header, function.params)
        function.params = (entry.context,)
    function.name = decl.name
    function.program = decl
    function.error_verdict = verdict
    analyse(session, instance, params)
    return instance


def _header(session: Session, decl: ProgramDecl, parsed: Parsed, scope: Scope) -> Context:
    """A context in which the parameters are looked at, before there is an instance."""
    function = tree.Function(
        name=decl.name,
        kind=tree.FunctionKind.ENTRY,
        params=(),
        result=NONE,
        span=parsed.source.name_span(parsed.node),
    )
    return Context(session, Instance(function, scope, parsed.source, decl.kind), Memory(), Coverage())


def _reached(entries: Sequence[Instance]) -> list[Instance]:
    """The instances that the programs reach, callees after their first caller."""
    found: list[Instance] = []
    work = list(reversed(entries))
    while work:
        instance = work.pop()
        if instance not in found:
            found.append(instance)
            work.extend(reversed(instance.callees))
    return found


def _unit(
    programs: Sequence[ProgramDecl], entries: list[Instance], reached: list[Instance], license: str | None
) -> tree.Unit:
    unit = tree.Unit(license=license or "")
    unit.programs = [instance.function for instance in entries]
    unit.functions = [instance.function for instance in reached if instance not in entries]
    for instance in reached:
        unit.maps += [m for m in instance.maps if m not in unit.maps]
        unit.globals += [g for g in instance.globals if g not in unit.globals]
    found = Diagnostics()
    for problem in [*name_declarations(programs, reached, unit), *unaligned_updates(unit), *unlicensed(unit)]:
        found.report(problem)
    found.raise_if_any()
    return unit
