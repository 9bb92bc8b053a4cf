"""The list of passes: what runs between the front end's SSA and instruction selection, in which order, and
why.

``PIPELINE`` is the whole truth: one line for each pass, with the reason for its place. ``_ORDERINGS`` says
which orders are not a matter of taste, and is checked when this module is imported.
"""

from __future__ import annotations

from collections.abc import Callable

from pyebpf.backend.passes import (
    addressing,
    branch_facts,
    cfg_simplify,
    constant_folding,
    dead_code,
    dead_functions,
    dead_stores,
    expand_memory,
    fuse_compare,
    gvn,
    inline,
    jump_threading,
    layout,
    mem2reg,
    merge_stores,
    narrow,
    range_checks,
    simplify,
)
from pyebpf.hints import TYPE_CHECKING
from pyebpf.ir.ops import Function, Module
from pyebpf.ir.verify import verify
from pyebpf.records import dataclass
from pyebpf.target import Isa, Target

if TYPE_CHECKING:
    from typing import Final


Observer = Callable[[str, Module], None]


@dataclass(frozen=True, slots=True)
class Context:
    """What passes may ask of the target. ``unaligned``: memory other than the stack may be accessed at any
    address."""

    target: Target
    unaligned: bool


@dataclass(frozen=True, slots=True)
class Pass:
    """A line of the pipeline. ``name`` is unique: a pass that runs again has a number behind its name."""

    name: str
    run: Callable[[Module, Context], bool]
    reason: str


def _each(run: Callable[[Function], bool]) -> Callable[[Module, Context], bool]:
    """A pass over functions as a pass over the module."""

    def over_module(module: Module, _: Context) -> bool:
        changes = [run(function) for function in module.functions.values()]
        return any(changes)

    return over_module


def _mem2reg(module: Module, context: Context) -> bool:
    changes = [mem2reg.run(f, unaligned=context.unaligned) for f in module.functions.values()]
    return any(changes)


def _fold(module: Module, context: Context) -> bool:
    little = context.target.little_endian
    changes = [constant_folding.run(f, module, little_endian=little) for f in module.functions.values()]
    return any(changes)


def _expand(module: Module, context: Context) -> bool:
    changes = [expand_memory.run(f, unaligned=context.unaligned) for f in module.functions.values()]
    return any(changes)


def _merge(module: Module, context: Context) -> bool:
    little = context.target.little_endian
    return merge_stores.run(module, unaligned=context.unaligned, little_endian=little)


def _narrow(module: Module, context: Context) -> bool:
    if (
        context.target.isa < Isa.V3
    ):  # has no 32-bit comparisons, so that widening would cost what narrowing saves
        return False
    changes = [narrow.run(f) for f in module.functions.values()]
    return any(changes)


def _gvn(module: Module, _: Context) -> bool:
    return gvn.run(module)


_SIMPLIFY = _each(simplify.run)
_DEAD = _each(dead_code.run)
_CFG = _each(cfg_simplify.run)
_THREAD = _each(jump_threading.run)

PIPELINE: Final[tuple[Pass, ...]] = (
    Pass("mem2reg", _mem2reg, "locals become values: this is the construction of SSA form"),
    Pass("constant_folding", _fold, "bodies shrink to what is really there before the inliner measures them"),
    Pass("simplify", _SIMPLIFY, "likewise"),
    Pass("cfg_simplify", _CFG, "likewise"),
    Pass("dead_code", _DEAD, "likewise"),
    Pass("inline", lambda m, _: inline.run(m), "everything after sees through calls"),
    Pass(
        "dead_functions",
        lambda m, _: dead_functions.run(m),
        "what was inlined everywhere is not optimised on",
    ),
    Pass("mem2reg.2", _mem2reg, "slots that were passed to an inlined function no longer escape"),
    Pass("constant_folding.2", _fold, "constant arguments decide branches of inlined bodies"),
    Pass("simplify.2", _SIMPLIFY, "puts operands in order, so that equal expressions look equal"),
    Pass("cfg_simplify.2", _CFG, "fewer joins: more is available on every way"),
    Pass("jump_threading", _THREAD, "error codes of inlined functions meet the test for them"),
    Pass("addressing", _each(addressing.run), "places are base and offset, so that equal places look equal"),
    Pass("gvn", _gvn, "nothing is computed or loaded twice"),
    Pass("branch_facts", _each(branch_facts.run), "a second check of what is one value now is superfluous"),
    Pass("range_checks", _each(range_checks.run), "nor is one that masks and other checks have answered"),
    Pass("constant_folding.3", _fold, "decided comparisons decide branches"),
    Pass("simplify.3", _SIMPLIFY, "what was stored and loaded again meets its other operand"),
    Pass("cfg_simplify.3", _CFG, "branches on what has become constant"),
    Pass("jump_threading.2", _THREAD, "phis that gvn merged or simplify shortened"),
    Pass("dead_code.2", _DEAD, "what has no users any more must not demand bits"),
    Pass("narrow", _narrow, "32 bits where no more are asked for"),
    Pass("simplify.4", _SIMPLIFY, "extensions meet truncations; threading left trivial phis"),
    Pass("gvn.2", _gvn, "what narrowing and threading made equal"),
    Pass("cfg_simplify.4", _CFG, "blocks that threading emptied"),
    Pass(
        "dead_stores",
        _each(dead_stores.run),
        "loads are as few as they get: what none reads need not be there",
    ),
    Pass("dead_code.3", _DEAD, "drops what the passes above left without users"),
    Pass("expand_memory", _expand, "selection knows loads and stores only"),
    Pass("merge_stores", _merge, "now that zeroings and copies are stores too"),
    Pass("fuse_compare", _each(fuse_compare.run), "the instruction set compares and jumps in one"),
    Pass("dead_code.4", _DEAD, "constants that fusion and expansion left"),
    Pass("layout", _each(layout.run), "the likely path falls through"),
)

_ORDERINGS: Final = (
    ("mem2reg", "gvn"),  # loads of locals would look like memory
    ("mem2reg", "inline"),  # sizes would be those of unoptimised code
    ("inline", "dead_functions"),
    ("inline", "mem2reg.2"),
    ("simplify.2", "gvn"),  # equal expressions must look equal
    ("addressing", "gvn"),
    ("gvn", "dead_stores"),  # a load that gvn removes keeps no store
    ("dead_stores", "expand_memory"),  # it shrinks zeroings as a whole
    ("addressing", "expand_memory"),  # expansion would multiply the additions
    ("gvn", "branch_facts"),  # facts are about values; equal values must be one
    ("range_checks", "narrow"),  # versions of the verifier differ in what they know of 32-bit operations
    ("dead_code.2", "narrow"),
    ("narrow", "simplify.4"),  # which removes the conversions at borders between narrowed operations
    ("expand_memory", "merge_stores"),
    ("merge_stores", "dead_code.4"),  # the narrow loads are still there
    ("gvn", "fuse_compare"),  # fused comparisons are invisible to it
    ("fuse_compare", "layout"),
)


def _assert_orderings() -> None:
    place = {line.name: i for i, line in enumerate(PIPELINE)}
    assert len(place) == len(PIPELINE), "two passes have one name"
    for first, second in _ORDERINGS:
        assert place[first] < place[second], f"{first} must run before {second}"
    assert PIPELINE[-1].name == "layout", "layout must be last"


_assert_orderings()


def optimize(
    module: Module,
    *,
    target: Target | None = None,
    unaligned: bool = False,
    observer: Observer | None = None,
    check: bool = False,
) -> None:
    """Run the whole pipeline over ``module``, in place.

    Parameters:
        target: what is compiled for (byte order of constants).
        unaligned: the target's processor accesses memory other than the kernel's stack at any address.
        observer: called after each pass with its name and the module, for ``--dump``; and first with
        ``"ssa"``. check: run the IR verifier before the first and after each pass.

    Raises:
        InternalError: a pass broke an invariant (with ``check``).
    """
    context = Context(target or Target(), unaligned)
    if check:
        verify(module)
    if observer:
        observer("ssa", module)
    for line in PIPELINE:
        line.run(module, context)
        if check:
            verify(module, after=line.name)
        if observer:
            observer(line.name, module)
