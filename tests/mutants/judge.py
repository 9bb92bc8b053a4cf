"""What becomes of a mutant: refused with reasons, or loaded by this kernel and run like the reference evaluator says."""

from __future__ import annotations

import enum
import sys
import traceback
import warnings
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from pyebpf.declare import ProgramDecl
from pyebpf.diagnostics import CompileError, Diagnostic
from pyebpf.driver import Compiled, compile_programs
from pyebpf.runtime.errors import BpfError, Phase, VerifierError
from pyebpf.runtime.load import load
from pyebpf.uapi.constants import ProgType
from tests.differential.evaluator import OutOfScope
from tests.differential.judge import disagreement, module_of, packets, programs_of
from tests.differential.limit import Slow, time_limit
from tests.mutants.corpus import ROOT
from tests.mutants.make import Mutant

PATHS = ("samples", "benchmarks/programs")
SECONDS = 60


class Fate(enum.Enum):
    """What became of a mutant; from ``REJECTED`` on it is a failure."""

    REFUSED = "refused by pyebpf"
    UNDECLARED = "refused where it is declared"
    NO_PYTHON = "fails in Python before pyebpf sees a program"
    NO_MAP = "the kernel does not make such a map"
    LOADED = "accepted and loaded by this kernel"
    REJECTED = "accepted, and refused by this kernel"
    DIFFERENT = "does something else than the evaluator"
    CRASHED = "crash"


FAILURES = (Fate.REJECTED, Fate.DIFFERENT, Fate.CRASHED)


@dataclass(frozen=True, slots=True)
class Result:
    """``compared``: whether the results of runs were compared, which needs an evaluator that knows all of it."""

    fate: Fate
    diagnostics: tuple[Diagnostic, ...] = ()
    text: str = ""
    compared: bool = False


@contextmanager
def importable() -> Iterator[None]:
    """The folders whose modules the samples and benchmarks import."""
    added = [str(ROOT / path) for path in PATHS]
    sys.path[:0] = added
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for path in added:
            sys.path.remove(path)


def judge(mutant: Mutant) -> Result:
    """Import, compile, load, run. Must be called with ``importable`` and, for per-CPU maps, on one CPU."""
    return judge_source(mutant.after, f"mutant_{mutant.seed}", packets(mutant.seed))


def judge_source(source: str, name: str, frames: list[bytes]) -> Result:
    """As ``judge``, for a text."""
    try:
        with time_limit(SECONDS), ExitStack() as stack:
            try:
                module = stack.enter_context(module_of(source, name))
            except Exception as error:
                return _declared(error, name)
            return _try(compile_programs(programs_of(module)), frames)
    except CompileError as error:
        return Result(Fate.REFUSED, error.diagnostics, str(error))
    except Slow:
        return Result(Fate.CRASHED, text=f"more than {SECONDS} s")
    except Exception:
        return Result(Fate.CRASHED, text=traceback.format_exc())


def _try(compiled: Compiled, frames: list[bytes]) -> Result:
    try:
        loaded = load(compiled.object)
    except VerifierError as error:
        return Result(Fate.REJECTED, text=str(error))
    except BpfError as error:
        fate = Fate.NO_MAP if error.phase is Phase.MAP_CREATE else Fate.REJECTED
        return Result(fate, text=str(error))
    with loaded as live:
        if any(program.prog_type is ProgType.SK_SKB for program in compiled.object.programs.values()):
            return Result(Fate.LOADED)
        try:
            different = disagreement(compiled, live, frames, 0)
        except OutOfScope:
            return Result(Fate.LOADED)
    if different is not None:
        return Result(Fate.DIFFERENT, text=different)
    return Result(Fate.LOADED, compared=True)


def _declared(error: Exception, name: str) -> Result:
    """An exception out of the module itself: Python's own, or one that a declaration raises on purpose."""
    text = "".join(traceback.format_exception(error))
    last = traceback.extract_tb(error.__traceback__)[-1]
    if last.filename == f"<{name}>" or isinstance(error, NameError):  # of an annotation that is evaluated
        return Result(Fate.NO_PYTHON, text=text)
    stated = (last.line or "").lstrip().startswith("raise ")
    if isinstance(error, TypeError | ValueError | AttributeError) and stated:
        return Result(Fate.UNDECLARED, text=text)
    return Result(Fate.CRASHED, text=text)


def load_only(programs: Sequence[ProgramDecl]) -> str | None:
    """Compile and load; what the kernel says if it refuses."""
    try:
        load(compile_programs(programs).object).close()
    except BpfError as error:
        return str(error)
    return None
