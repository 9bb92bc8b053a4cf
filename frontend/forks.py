"""How many ways through a loop the verifier puts aside until it has come to the end of the first one.

Where a test may go either way it follows the code that comes next and keeps the other way for later, but no more than some
thousands at a time (``BPF_COMPLEXITY_LIMIT_JMP_SEQ`` in kernel/bpf/verifier.c). In a loop that adds up over all
iterations, so loops with more are refused. What is counted is what the first way passes; tests of numbers that
the verifier knows, such as those of a counter, are not.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator

from pyebpf.frontend import tree
from pyebpf.frontend.loop_weight import followed_trips
from pyebpf.frontend.types import Bool
from pyebpf.records import fields

FORKS_LIMIT = 8_000
"""The verifier's limit is 8192; the rest is for what stands around the loop."""
ITERATOR_FORKS = 2_000
"""From here on a loop goes over one of the kernel's iterators where it may: loops inside have more ways than are counted."""
ELEMENTS_KNOWN_SINCE = (6, 14)
"""The first kernel whose verifier knows that an array map has the element with a constant index."""


_LEAVES = (tree.Break, tree.Continue, tree.Return, tree.Raise, tree.Reraise, tree.TailCall)
_DATA = (
    tree.Read,
    tree.ContextField,
    tree.PacketLength,
    tree.MapLookup,
    tree.MapUpdate,
    tree.MapDelete,
    tree.HelperCall,
    tree.FunctionCall,
    tree.LoopCall,
)
"""What gives a number that the verifier does not know."""


def forks(body: object, kernel: tuple[int, int], params: Collection[tree.Local] = ()) -> int:
    """The tests on the first way through ``body`` of which the verifier cannot know the result. ``params``: variables of
    which it knows nothing."""
    return _Forks(_open(body, params), kernel).of(body)


class _Forks:
    """``open``: the variables of which the verifier does not know what they hold in each iteration."""

    def __init__(self, open_: set[tree.Local], kernel: tuple[int, int]) -> None:
        self.open = open_
        self.kernel = kernel

    def of(self, item: object) -> int:
        """The forks on the first way through ``item``."""
        match item:
            case tuple():
                return self._one_after_another(item)
            case tree.If(test=test, body=body, orelse=orelse):
                return self._either(self.of(test), body, orelse)
            case tree.Conditional(test=test, then=then, otherwise=otherwise):
                return max(self.of(test) + self.of(then), self.of(otherwise))
            case tree.While(test=test, body=body, orelse=orelse):
                return followed_trips(item) * self.of((test, *body)) + self.of(orelse)
            case tree.ForRange(start=start, stop=stop, body=body, orelse=orelse):
                end = int(self._unknown((start, stop)))
                return followed_trips(item) * (end + self.of(body)) + self.of(orelse) + self.of((start, stop))
            case tree.ForConstants(body=body, orelse=orelse):
                return followed_trips(item) * self.of(body) + self.of(orelse)
            case tree.FunctionCall(args=args, function=function):
                unknown = [p for p, arg in zip(function.params, args, strict=True) if self._unknown(arg)]
                return self.of(args) + forks(function.body, self.kernel, unknown)
            case tree.Try(body=body, orelse=orelse, final=final):
                return self.of((*body, *orelse, *final))
            case tree.LoopCall() | tree.Function():
                return 0
            case tree.Node():
                return self._asked(item) + sum(self.of(getattr(item, part.name)) for part in fields(item))
            case _:
                return 0

    def _one_after_another(self, items: tuple[object, ...]) -> int:
        before, total = set(self.open), 0
        for item in items:
            total += self.of(item)
            self.open -= _pinned(item)
        self.open = before
        return total

    def _either(self, asked: int, body: tree.Body, orelse: tree.Body) -> int:
        """One side is put aside; which one depends on where the code stands."""
        if body and isinstance(body[-1], _LEAVES):
            return asked + self.of(orelse)
        return asked + max(self.of(body), self.of(orelse))

    def _asked(self, node: tree.Node) -> int:
        """The tests that are made at ``node``, the compiler's own included."""
        match node:
            case tree.Compare() | tree.Truth() | tree.IsNone():
                return self._unknown(node)
            case tree.GetLocal(local=local, type=Bool()):
                return int(local in self.open)
            case tree.PacketView(offset=offset):
                return 1 + self._unknown(offset)
            case tree.PacketCopy() | tree.PacketStore():
                return 1
            case tree.ElementOf(checked=True, index=index):
                return self._unknown(index)
            case tree.Arith(may_be_zero=True, right=right):
                return self._unknown(right)
            case tree.MapLookup(map=decl, key=key, missing=tree.Missing.RAISE) if decl.type in tree.ARRAYS:
                return max(self._unknown(key), int(self.kernel < ELEMENTS_KNOWN_SINCE))
            case tree.MapLookup(missing=tree.Missing.RAISE | tree.Missing.INSERT):
                return 1
            case tree.EqualBytes(length=length):
                return length // 8 + 1
            case _:
                return 0

    def _unknown(self, test: object) -> int:
        """1 if the verifier does not know what ``test`` depends on."""
        return int(_depends(test, self.open))


def _pinned(item: object) -> set[tree.Local]:
    """What is known behind ``if x == 3: …`` on the way that is followed first."""
    match item:
        case tree.If(
            test=tree.Compare(op=tree.CompareOp.EQ, left=tree.GetLocal(local=local), right=tree.IntConst()),
            body=body,
        ) if not (body and isinstance(body[-1], _LEAVES)):
            return {local}
        case _:
            return set()


def _open(body: object, params: Collection[tree.Local]) -> set[tree.Local]:
    """``params``, and what is computed from them or unknown data, or assigned on some ways only."""
    assigned = list(_assigned(body, False))
    found = {*params, *(local for local, _, chosen in assigned if chosen)}
    while more := {local for local, value, _ in assigned if local not in found and _depends(value, found)}:
        found |= more
    return found


def _assigned(item: object, chosen: bool) -> Iterator[tuple[tree.Local, tree.Expr, bool]]:
    match item:
        case tuple():
            for part in item:
                yield from _assigned(part, chosen)
        case tree.SetLocal(local=local, value=value) | tree.Bind(local=local, value=value):
            yield local, value, chosen
            yield from _assigned(value, chosen)
        case tree.While(body=body, orelse=orelse) | tree.ForRange(body=body, orelse=orelse):
            yield from _assigned(body, chosen)
            yield from _assigned(orelse, True)
        case tree.Function():
            return
        case tree.Node():
            for node in fields(item):
                yield from _assigned(getattr(item, node.name), True)
        case _:
            return


def _depends(expr: object, open_: Collection[tree.Local]) -> bool:
    """Whether ``expr`` depends on a variable that is ``open_``, or on other data that the verifier does not know."""
    match expr:
        case tuple():
            return any(_depends(part, open_) for part in expr)
        case tree.GetLocal(local=local):
            return local in open_
        case tree.Function():
            return False
        case tree.Node():
            return isinstance(expr, _DATA) or any(
                _depends(getattr(expr, part.name), open_) for part in fields(expr)
            )
        case _:
            return False
