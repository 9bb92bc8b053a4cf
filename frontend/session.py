"""What one compilation and one function instance share while they are analysed: the working state of ``infer``.

``Session`` belongs to a call of ``analyze``: the target, the instances made so far, the declarations in use.
``Context`` belongs to one round over one function: its scope, the state at the current point, the statements made
so far. The functions that do the work live beside it, by subject, and take the context as their first argument.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from pyebpf import btf
from pyebpf.codes import Code
from pyebpf.declare import GlobalDecl, KernelTypeDecl, MapDecl
from pyebpf.diagnostics import Diagnostic, Diagnostics, InternalError, Label, Span
from pyebpf.frontend import tree
from pyebpf.frontend.coverage import Coverage
from pyebpf.frontend.flow import State, Variable, join_states
from pyebpf.frontend.licence import GPL_COMPATIBLE
from pyebpf.frontend.parse import Source
from pyebpf.frontend.scope import Scope
from pyebpf.frontend.types import Maybe, NoneT, Ref, Type
from pyebpf.frontend.values import Mismatch, OptionalInt, VariableType, describe, join, widen
from pyebpf.hints import Any
from pyebpf.records import dataclass, field
from pyebpf.target import Target, TargetFacts
from pyebpf.uapi.programs import ProgramKind


class Refused(Exception):
    """Unwinds to the statement that cannot be compiled; carries the reason."""

    def __init__(self, diagnostic: Diagnostic) -> None:
        super().__init__(diagnostic.message)
        self.diagnostic = diagnostic


class Poisoned(Exception):
    """Unwinds a statement that uses something that has been refused already, or is not known in this round yet."""


@dataclass(eq=False, slots=True)
class Instance:
    """One Python function analysed for given parameter types, with what its callers need to know."""

    function: tree.Function
    scope: Scope
    source: Source
    kind: ProgramKind
    done: bool = False
    failed: bool = False
    changes_packet: bool = False
    diagnostics: list[Diagnostic] = field(default_factory=list)
    callees: list[Instance] = field(default_factory=list)
    maps: list[MapDecl] = field(default_factory=list)
    globals: list[GlobalDecl] = field(default_factory=list)
    prologue: list[tree.Stmt] = field(default_factory=list)  # what comes before the user's statements


@dataclass(eq=False, slots=True)
class Session:
    """One call of ``analyze``."""

    target: Target
    license: str | None
    facts: TargetFacts | None = None
    instances: dict[Any, Instance] = field(default_factory=dict)
    local_types: dict[KernelTypeDecl, btf.Type] = field(default_factory=dict)
    active: list[Instance] = field(default_factory=list)

    def kernel_types(self) -> btf.Spec | None:
        """The types of the target's kernel, if they are known."""
        return self.facts.types() if self.facts is not None else None

    def local_type(self, decl: KernelTypeDecl) -> btf.Type:
        """The type that a program declares for itself, always the same one."""
        assert decl.local is not None
        if decl not in self.local_types:
            made = btf.from_layout(decl.local)
            assert isinstance(made, btf.Struct | btf.Union)
            made.name = decl.name
            self.local_types[decl] = made
        return self.local_types[decl]

    @property
    def gpl(self) -> bool:
        """Whether the kernel takes the licence for GPL-compatible."""
        return self.license in GPL_COMPATIBLE


@dataclass(eq=False, slots=True)
class LoopFrame:
    """A loop being analysed: its region for births, and the states of its ``break`` and ``continue`` statements."""

    region: int
    breaks: State | None = None
    continues: State | None = None


@dataclass(eq=False, slots=True)
class ErrorFrame:
    """A ``try`` body (or a whole function) being analysed: what it may raise, and in which state."""

    raised: set[tree.Exc] = field(default_factory=set)
    state: State | None = None
    finals: State | None = None  # at returns, breaks and continues that pass through its `finally`
    loops: int = 0  # how many loops were open around it


@dataclass(slots=True)
class Memory:
    """What one round over a function leaves for the next: the states at back edges, and what loops do."""

    back_edges: dict[int, State | None] = field(default_factory=dict)
    changed: bool = False


@dataclass(eq=False, slots=True)
class Context:
    """One round over one function."""

    session: Session
    instance: Instance
    memory: Memory
    coverage: Coverage
    parent: Context | None = None
    diagnostics: Diagnostics = field(default_factory=Diagnostics)
    state: State | None = field(default_factory=State)
    out: list[tree.Stmt] = field(default_factory=list)
    loops: list[LoopFrame] = field(default_factory=list)
    errors: list[ErrorFrame] = field(default_factory=lambda: [ErrorFrame()])
    regions: list[int] = field(default_factory=list)
    handling: int = 0  # handlers being analysed, for a bare `raise`
    handled: list[set[tree.Exc]] = field(default_factory=list)  # what the handlers being analysed have caught
    errno_of: dict[Variable, tuple[tree.Local, bool]] = field(
        default_factory=dict
    )  # `except … as e`; OSError only
    guarded: int = 0  # `with` and `finally` around the current point
    results: list[tuple[VariableType, Span]] = field(default_factory=list)
    result: VariableType | None = None  # of the function, as far as earlier rounds know
    temporaries: int = 0
    acquired: list[tree.HelperCall] = field(default_factory=list)  # calls whose result is still to be named
    packet_changes: list[Span] = field(default_factory=list)
    views: dict[int, tuple[tree.Expr, int]] = field(default_factory=dict)  # see ``packets.note_view``
    following: Any = None  # the statement after the one being analysed
    poisoned: bool = False

    # ------------------------------------------------------------ places

    @property
    def scope(self) -> Scope:
        """The names of the function."""
        return self.instance.scope

    @property
    def source(self) -> Source:
        """The file that the function is in."""
        return self.instance.source

    @property
    def kind(self) -> ProgramKind:
        """The program type that the instance is compiled for."""
        return self.instance.kind

    def span(self, node: Any) -> Span:
        """The place of a syntax node."""
        return self.source.span(node)

    def bug(self, message: str, span: Span | None = None) -> InternalError:
        """A mistake of the compiler, with its place."""
        return InternalError(message, phase="infer", function=self.instance.function.name, span=span)

    # ------------------------------------------------------------ refusals

    def refusal(
        self,
        code: Code,
        at: Any,
        message: str,
        *,
        label: str = "",
        labels: Sequence[Label] = (),
        notes: Sequence[str] = (),
        help: Sequence[str] | str = (),
    ) -> Refused:
        """The exception that gives up the current statement for a reason. ``at`` is a syntax node or a span."""
        return Refused(self.diagnostic(code, at, message, label=label, labels=labels, notes=notes, help=help))

    def diagnostic(
        self,
        code: Code,
        at: Any,
        message: str,
        *,
        label: str = "",
        labels: Sequence[Label] = (),
        notes: Sequence[str] = (),
        help: Sequence[str] | str = (),
    ) -> Diagnostic:
        """A diagnostic at a syntax node or a span."""
        span = at if isinstance(at, Span) else self.span(at)
        texts = (help,) if isinstance(help, str) else tuple(help)
        return Diagnostic(code, message, span, label, tuple(labels), tuple(notes), texts)

    def report(self, diagnostic: Diagnostic) -> None:
        """Keep a diagnostic and go on."""
        self.diagnostics.report(diagnostic)

    # ------------------------------------------------------------ control flow

    def raises(self, exception: tree.Exc) -> None:
        """Note that ``exception`` may be raised here."""
        if len(self.errors) == 1 and self.state is not None:
            self._check_held(self.state)
        frame = self.errors[-1]
        frame.raised.add(exception)
        frame.state = join_states(frame.state, self.state)

    def _check_held(self, state: State) -> None:
        """An exception that leaves the function here must not take a kernel reference with it."""
        for variable, knowledge in state.known.items():
            if knowledge.acquired is not None and not isinstance(knowledge.type, NoneT):
                self.report(
                    self.diagnostic(
                        Code.E0809,
                        knowledge.acquired,
                        f"`{variable.name}` is not released where an exception leaves the function",
                        notes=["the kernel object would stay in use for ever"],
                        help="release it before what may raise, or in a `finally`",
                    )
                )

    @contextmanager
    def collecting(self) -> Iterator[list[tree.Stmt]]:
        """Collect the statements made inside the block into a list of their own."""
        outer, self.out = self.out, []
        try:
            yield self.out
        finally:
            self.out = outer

    @contextmanager
    def region(self, node: object) -> Iterator[int]:
        """A loop body or ``with`` block, for the births of storage."""
        number = id(node)
        self.regions.append(number)
        try:
            yield number
        finally:
            self.regions.pop()

    # ------------------------------------------------------------ variables

    def temporary(self, kind: Type, span: Span, name: str = "") -> tree.Local:
        """A new local of the compiler's own."""
        self.temporaries += 1
        return tree.Local(name or f"${self.temporaries}", kind, span)

    def observe(self, variable: Variable, kind: VariableType, span: Span) -> None:
        """Note that a value of a type is assigned to ``variable``, widening what is known of it."""
        before = variable.declared
        try:
            variable.observed = kind if variable.observed is None else join(variable.observed, kind)
            if before is None:
                variable.declared = kind
            else:
                joined = join(before, kind)
                if joined != before:
                    variable.declared = widen(joined)
        except Mismatch as mismatch:
            raise self.refuse_mismatch(variable, mismatch, span) from None
        if variable.declared != before:
            self.note_change(variable)

    def note_change(self, variable: Variable) -> None:
        """What is known of a variable has changed: the rounds up to the function that owns it must be repeated.

        Not those around it: their rounds make the variables of nested functions anew, and would never settle.
        """
        context: Context | None = self
        while context is not None:
            context.memory.changed = True
            context = None if context.scope.owns(variable) else context.parent

    def refuse_mismatch(self, variable: Variable, mismatch: Mismatch, span: Span) -> Refused:
        """Refuse an assignment that gives a variable two types."""
        if mismatch.mixed_sign:
            return self.refusal(
                Code.E0303,
                span,
                f"`{variable.name}` would hold both `u64` values and values that may be negative",
                labels=[Label(variable.span, "first assigned here")] if variable.span != span else [],
                notes=["a variable is `u64` if one of its assignments is, and then no other may be negative"],
                help="convert with `i64(…)` or `u64(…)`",
            )
        if mismatch.origins:
            one, two = (origin_of(kind) for kind in (mismatch.left, mismatch.right))
            return self.refusal(
                Code.E0510,
                span,
                f"`{variable.name}` refers to {one} memory elsewhere and to {two} memory here",
                labels=[Label(variable.span, "first assigned here")] if variable.span != span else [],
                notes=[
                    "packets, records and constants have rules of their own, and are not mixed with other memory"
                ],
                help="copy it: `bpf.copy(…)`, or use two names",
            )
        return self.refusal(
            Code.E0305,
            span,
            f"`{variable.name}` is {describe(mismatch.left)} elsewhere and {describe(mismatch.right)} here",
            labels=[Label(variable.span, "first assigned here")] if variable.span != span else [],
            notes=["a variable has one type in the whole function"],
            help="use another name",
        )

    def use_map(self, decl: MapDecl) -> MapDecl:
        """Note that the function uses the map."""
        if decl not in self.instance.maps:
            self.instance.maps.append(decl)
        return decl

    def use_global(self, decl: GlobalDecl) -> GlobalDecl:
        """Note that the function uses the variable."""
        if decl not in self.instance.globals:
            self.instance.globals.append(decl)
        return decl


def origin_of(kind: VariableType) -> str:
    """Where a reference points, in words."""
    of = kind.of if isinstance(kind, Maybe) else kind
    return of.origin.value if isinstance(of, Ref) else describe(kind)


def local_type(kind: VariableType) -> Type:
    """The type of the tree's local for a variable of ``kind``."""
    return kind.of if isinstance(kind, OptionalInt) else kind
