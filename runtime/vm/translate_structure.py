"""From the control flow of a function to Python's ``while``, ``if``, ``break`` and ``continue``.

The dominator tree gives the nesting (Ramsey, "Beyond Relooper", 2022): a block stands inside the block that dominates
it. Where ways meet, the common continuation follows the statement in which they part; if control may leave that statement
for different places, ``t`` says which one, and each continuation is guarded by a test of it. A loop is ``while True``;
what leaves it stands after it. Short ends of the function are repeated instead of being met.

A function whose loops have several entries, or that nests too deep for Python, becomes one loop over a binary decision
on the number of the block.
"""

from __future__ import annotations

from collections import defaultdict

from pyebpf.hints import TYPE_CHECKING, Protocol
from pyebpf.records import dataclass, field
from pyebpf.runtime.vm.translate_flow import Flow
from pyebpf.runtime.vm.translate_text import Line, Text, TooDeep

if TYPE_CHECKING:
    from typing import Final


_SHORT: Final = 6
"""How many instructions an end of the function has at most that is written again at each jump to it."""

_DEEPEST: Final = 100
"""How deep blocks may stand inside each other, as Python's own stack is limited."""

Ways = dict[int, list[Line]]
"""Where control goes on, each with the lines that note it in ``t``."""


class Writer(Protocol):
    """Writes the instructions of blocks; ``pending`` is how many instructions have run and are not yet counted."""

    text: Text

    def body(self, block: int, pending: int) -> int:
        """The instructions of a block but for its jump; gives what is pending then, the jump included."""

    def leave(self, block: int, pending: int) -> None:
        """The exit at the end of a block."""

    def condition(self, block: int, holds: bool) -> str:
        """The condition of the jump at the end of a block, or its opposite."""

    def count(self, pending: int) -> None:
        """Count what is pending."""

    def check_budget(self, pending: int) -> None:
        """Count what is pending, and end the run if that was too much."""


@dataclass(slots=True)
class Structured:
    """Writes one function as nested statements."""

    flow: Flow
    writer: Writer
    ends: set[int] = field(default_factory=set)
    meets: dict[int, list[int]] = field(default_factory=lambda: defaultdict(list))
    after: dict[int, list[int]] = field(default_factory=lambda: defaultdict(list))
    breaks: list[Ways] = field(default_factory=list)
    depth: int = 0

    def write(self) -> None:
        """Write it. Raises ``TooDeep``."""
        self._place_blocks()
        self._emit(0, 0, None)

    def _place_blocks(self) -> None:
        flow = self.flow
        for number in range(1, len(flow.blocks)):
            block = flow.blocks[number]
            forward = [p for p in flow.predecessors[number] if p < number]
            single = len(forward) == 1
            if block.ends and (single or block.size <= _SHORT):
                self.ends.add(number)
                continue
            parent = flow.idom[number]
            left = [header for header in flow.nest[parent] if header not in flow.nest[number]]
            if left:
                self.after[left[0]].append(number)
            elif not single:
                self.meets[parent].append(number)

    def _emit(self, number: int, pending: int, loop: int | None) -> Ways:
        """Write a block with all that stands inside it; where control goes on after that."""
        self.depth += 1
        if self.depth > _DEEPEST:
            raise TooDeep
        gone: Ways = {}
        following: int | None = number
        while following is not None:
            if following in self.flow.loops:
                ways = self._loop(following, pending, loop)
                queue = self.after[following]
            else:
                ways, queue = self._block(following, pending, loop)
            pending = 0
            ways, following = self._continue(ways, queue, loop)
            _join(gone, ways)
        self.depth -= 1
        return gone

    def _continue(self, ways: Ways, queue: list[int], loop: int | None) -> tuple[Ways, int | None]:
        """Write the blocks of ``queue`` where ways meet; the ways left. If all ways lead to the last one, it is given
        back unwritten."""
        text = self.writer.text
        for place in queue:
            if place not in ways:
                continue
            if len(ways) == 1:
                if place == queue[-1]:
                    return {}, place
                ways = self._emit(place, 0, loop)
                continue
            _want(ways)
            del ways[place]
            text.add(f"if t == {place}:")
            text.indent()
            more = self._emit(place, 0, loop)
            text.dedent()
            _join(ways, more)
        return ways, None

    def _loop(self, header: int, pending: int, outer: int | None) -> Ways:
        text = self.writer.text
        self.writer.count(pending)
        text.add("while True:")
        text.indent(loop=True)
        self.breaks.append({})
        ways, queue = self._block(header, 0, header)
        ways, following = self._continue(ways, queue, header)
        if following is not None:
            ways = self._emit(following, 0, header)
        assert not ways, "control falls off the end of a loop"
        text.dedent(loop=True)
        return self._pass_on(self.breaks.pop(), outer)

    def _pass_on(self, ways: Ways, loop: int | None) -> Ways:
        """After a loop: ways that lead to the surrounding loop's start or out of it as well."""
        if loop is None:
            return ways
        text, inside = self.writer.text, self.flow.loops[loop]
        here = {place: lines for place, lines in ways.items() if place != loop and place in inside}
        onward = [place for place in ways if place not in here]
        several = len(ways) > 1
        if several and onward:
            _want(ways)
        for place in onward:
            if several:
                text.add(f"if t == {place}:")
                text.indent()
            if place == loop:
                self.writer.check_budget(0)
                text.add("continue")
            else:
                text.add("break")
                _join(self.breaks[-1], {place: ways[place]})
            if several:
                text.dedent()
        return here

    def _block(self, number: int, pending: int, loop: int | None) -> tuple[Ways, list[int]]:
        """Write a block and the blocks inside it; where control goes on, and the blocks where ways of it meet."""
        text, writer, flow = self.writer.text, self.writer, self.flow
        queue: list[int] = []
        while True:
            block = flow.blocks[number]
            queue = self.meets[number] + queue
            pending = writer.body(number, pending)
            if block.ends:
                writer.leave(number, pending)
                return {}, queue
            target = block.successors[-1]
            if len(block.successors) == 2:
                taken, other = block.successors
                swap = self._goes_on(taken, loop) and not self._goes_on(other, loop)
                if swap:
                    taken, other = other, taken
                slot = text.slot
                text.add(f"if {writer.condition(number, not swap)}:")
                text.indent()
                ways = self._jump(number, taken, pending, loop)
                text.dedent()
                text.slot = slot
                if ways:
                    text.add("else:")
                    text.indent()
                    _join(ways, self._jump(number, other, pending, loop))
                    text.dedent()
                    return ways, queue
                target = other
            if not self._inside(target, number):
                return self._jump(number, target, pending, loop), queue
            if target in flow.loops:
                writer.count(pending)
                return {target: [text.add(f"t = {target}", wanted=False)]}, [target, *queue]
            number = target

    def _inside(self, target: int, source: int) -> bool:
        """Whether ``target`` is written where ``source`` jumps to it."""
        if target in self.ends:
            return True
        if self.flow.idom[target] != source or target <= source:
            return False
        return target not in self.meets[source] and not any(
            target in self.after[header] for header in self.flow.nest[source]
        )

    def _goes_on(self, target: int, loop: int | None) -> bool:
        """Whether what follows the jump's statement may run after a jump to ``target``."""
        if target in self.ends or target == loop:
            return False
        return loop is None or target in self.flow.loops[loop]

    def _jump(self, source: int, target: int, pending: int, loop: int | None) -> Ways:
        text = self.writer.text
        if self._inside(target, source):
            return self._emit(target, pending, loop)
        if target == loop:
            self.writer.check_budget(pending)
            text.add("continue")
            return {}
        self.writer.count(pending)
        note = text.add(f"t = {target}", wanted=False)
        if loop is not None and target not in self.flow.loops[loop]:
            text.add("break")
            _join(self.breaks[-1], {target: [note]})
            return {}
        return {target: [note]}


def _want(ways: Ways) -> None:
    for lines in ways.values():
        for line in lines:
            line.wanted = True


def _join(into: Ways, more: Ways) -> None:
    for place, lines in more.items():
        into.setdefault(place, []).extend(lines)


def write_dispatch(flow: Flow, writer: Writer) -> None:
    """Write any function, as a loop over the number of the block."""
    text = writer.text
    text.add("t = 0")
    text.add("while True:")
    text.indent(loop=True)
    _decide(flow, writer, 0, len(flow.blocks))
    text.dedent(loop=True)


def _decide(flow: Flow, writer: Writer, first: int, end: int) -> None:
    text = writer.text
    if end - first > 1:
        middle = (first + end) // 2
        text.add(f"if t < {middle}:")
        text.indent()
        _decide(flow, writer, first, middle)
        text.dedent()
        text.add("else:")
        text.indent()
        _decide(flow, writer, middle, end)
        text.dedent()
        return
    block = flow.blocks[first]
    pending = writer.body(first, 0)
    if block.ends:
        writer.leave(first, pending)
        return
    if any(successor <= first for successor in block.successors):
        writer.check_budget(pending)
    else:
        writer.count(pending)
    if len(block.successors) == 2:
        taken, other = block.successors
        text.add(f"t = {taken} if {writer.condition(first, True)} else {other}")
    else:
        text.add(f"t = {block.successors[0]}")
