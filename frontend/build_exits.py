"""The ways out of a piece of code: exceptions, ``break``, ``continue``, ``return``, and what runs on the way.

Every exception is known statically where it is raised, so a raise is a branch to a block that is found by
walking the enclosing scopes from the inside out (``route``). A scope with something to do on the way
(``finally``, the end of a ring buffer record) gives out one *landing block* for each kind of exit; they are
filled when the scope has been left, and then go on to the next scope outside."""

from __future__ import annotations

import math

from pyebpf import enums
from pyebpf.frontend.tree import Exc, Handler
from pyebpf.hints import TypeVar, assert_never
from pyebpf.ir.builder import Builder
from pyebpf.ir.ops import Alloca, Block
from pyebpf.records import dataclass, field


class Leave(enums.Enum):
    """The exits that are no exceptions."""

    BREAK = "break"
    CONTINUE = "continue"
    RETURN = "return"


Exit = Exc | Leave
AnyExit = TypeVar("AnyExit", Exc, Exc | Leave)


@dataclass(slots=True)
class LoopScope:
    """A loop body. ``trips``: how often it runs at most each time."""

    broken: Block
    continued: Block
    trips: int


@dataclass(slots=True)
class HandlerScope:
    """The body of a ``try`` with handlers; ``landings`` are the blocks for the exceptions that arrive."""

    handlers: tuple[Handler, ...]
    landings: dict[Exc, Block] = field(default_factory=dict)

    def handler_of(self, exception: Exc) -> Handler | None:
        """The first handler that catches ``exception``."""
        return next((h for h in self.handlers if any(exception.is_a(c) for c in h.catches)), None)


@dataclass(slots=True)
class CleanupScope:
    """Code that something must follow on every way out; ``landings`` by kind of exit."""

    landings: dict[Exit, Block] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Handling:
    """A handler being lowered: what may have arrived in it, and hidden variables with the code and the error
    number."""

    possible: frozenset[Exc]
    code: Alloca
    errno: Alloca


Scope = LoopScope | HandlerScope | CleanupScope


class Exits:
    """The scopes around the current place, and the blocks at which the function is left."""

    def __init__(self, builder: Builder, *, errors_alike: bool) -> None:
        """``errors_alike``: all exceptions that nobody handles leave the function in the same way."""
        self._b = builder
        self.errors_alike = errors_alike
        self.scopes: list[Scope] = []
        self.handling: list[Handling] = []
        self.function: dict[Exit, Block] = {}
        self.cold: set[Block] = set()
        self._errno: Alloca | None = None
        self._result: Alloca | None = None

    def cold_block(self, name: str) -> Block:
        """A new block for what hardly ever happens."""
        block = self._b.new_block(name)
        self.cold.add(block)
        return block

    def route(self, exit_: Exit) -> Block:
        """Where control goes that leaves the current place by ``exit_``."""
        for scope in reversed(self.scopes):
            match scope:
                case LoopScope(broken=broken, continued=continued):
                    if exit_ is Leave.BREAK:
                        return broken
                    if exit_ is Leave.CONTINUE:
                        return continued
                case HandlerScope():
                    if isinstance(exit_, Exc) and scope.handler_of(exit_) is not None:
                        return self._landing(scope.landings, exit_)
                case CleanupScope():
                    return self._landing(scope.landings, exit_)
                case _:
                    assert_never(scope)
        return self.out(exit_)

    def out(self, exit_: Exit) -> Block:
        """Where ``exit_`` leaves the function, whatever is around the current place."""
        if isinstance(exit_, Exc) and self.errors_alike:
            if Exc.EXCEPTION not in self.function:
                self.function[Exc.EXCEPTION] = self.cold_block("error")
            exit_ = Exc.EXCEPTION
        return self._landing(self.function, exit_)

    def _landing(self, landings: dict[AnyExit, Block], exit_: AnyExit) -> Block:
        if exit_ not in landings:
            if isinstance(exit_, Exc):
                landings[exit_] = self.cold_block(f"on_{exit_.name.lower()}")
            else:
                landings[exit_] = self._b.new_block(f"on_{exit_.value}")
        return landings[exit_]

    def trips(self) -> int:
        """How often the current place is passed at most in one activation: the loops around it, multiplied."""
        return math.prod(scope.trips for scope in self.scopes if isinstance(scope, LoopScope))

    def through_cleanup(self) -> bool:
        """Whether leaving the function from here has something to do on the way."""
        return any(isinstance(scope, CleanupScope) for scope in self.scopes)

    def errno(self) -> Alloca:
        """The hidden variable with the error number of the OS exception that is under way."""
        if self._errno is None:
            self._errno = self._b.alloca(8, 8, "errno")
        return self._errno

    def result(self) -> Alloca:
        """The hidden variable with the result of a ``return`` that passes through cleanups."""
        if self._result is None:
            self._result = self._b.alloca(8, 8, "result")
        return self._result
