"""From the log of a refusal to a diagnostic that points at the user's source."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence

from pyebpf.codes import Code
from pyebpf.diagnostics import Diagnostic, Label
from pyebpf.hints import TYPE_CHECKING
from pyebpf.records import dataclass, field
from pyebpf.runtime.rejection.facts import Facts, Known, facts, groups
from pyebpf.runtime.rejection.parse import Log, Step, parse
from pyebpf.runtime.rejection.place import Place, place_of
from pyebpf.runtime.rejection.rules import Blame, Follow, Rule
from pyebpf.runtime.rejection.source import Source
from pyebpf.runtime.rejection.state import Value
from pyebpf.runtime.rejection.table import find
from pyebpf.runtime.rejection.trace import Origin, base_register, follow, is_call, operand

if TYPE_CHECKING:
    from typing import Final


_MOST_LABELS: Final = 4
_SHOWN_REASON: Final = 6
_REFERS: Final = re.compile(r"\bR(\d+)\b")
_UNKNOWN: Final = Rule(
    Code.E1100,
    (r"(?s).*",),
    "the kernel refused the program{problem}",
    ("the whole log tells the way that the verifier went",),
    blame=Blame.PROGRAM,
)
_NOT_KNOWN: Final = ", in words that pyebpf does not know"
_REPORT: Final = "please report it, with the source and what `pyebpf log` shows"


def explain(text: str, source: Source, *, advice: str = "") -> Diagnostic:
    """The diagnostic for a log. ``advice``: what the loader knows besides about this process. Never raises."""
    log = parse(text)
    return _Telling(log, source).diagnostic(advice)


@dataclass(slots=True)
class _Telling:
    """Puts one diagnostic together. ``places``: of everything that it points at, in order."""

    log: Log
    source: Source
    places: list[Place] = field(default_factory=list)

    def diagnostic(self, advice: str) -> Diagnostic:
        """The whole."""
        log = self.log
        reason = "\n".join(log.reason) or log.problem
        found = find(reason, self._fits)
        rule, match = found or (_UNKNOWN, _UNKNOWN.patterns[0].search(reason))
        assert match is not None
        register = self._register(match)
        value = self._value(register)
        origin, index = self._origin(rule, register)
        step = log.steps[-1] if log.steps else None
        slot, share = self._slot(rule, match)
        known = Known(self.source, step, value, self._value_at(*index) if index else None, share)
        words = facts(match, known)
        words["problem"] = f": {log.problem[:1].lower()}{log.problem[1:]}" if log.problem else _NOT_KNOWN
        primary = self._place(slot)
        labels = tuple(self._labels(rule, words, origin, match))
        helps = [text.format_map(words) for text in rule.help]
        return Diagnostic(
            rule.code,
            rule.message.format_map(words),
            primary.span,
            rule.label.format_map(words),
            labels,
            (*self._said(), *self._knew(rule, match, register, index)),
            (*helps, *self._blame(rule), *([advice] if advice else [])),
            texts=tuple(dict.fromkeys((p.span.file, p.span.line, p.line) for p in self.places)),
        )

    # ------------------------------------------------------------ the value

    def _fits(self, rule: Rule, match: re.Match[str]) -> bool:
        step = self.log.steps[-1] if self.log.steps else None
        if rule.at_call and not (step is not None and is_call(step.text)):
            return False
        if rule.only is not None and not rule.only(groups(match)):
            return False
        if not rule.of:
            return True
        register = self._register(match)
        values = [self._value(register), self._value_made(register)]
        return any(value is not None and re.fullmatch(rule.of, value.text) for value in values)

    def _register(self, match: re.Match[str]) -> str | None:
        """The register that a message is about, as far as it or the instruction tells."""
        told = groups(match)
        if "argument" in told:  # of a call, from 0
            return f"R{int(told['argument']) + 1}"
        if "reg" in told:
            return f"R{told['reg']}"
        if not self.log.steps:
            return None
        step = self.log.steps[-1]
        return "R0" if step.text == "exit" else base_register(step.text)

    def _value(self, register: str | None) -> Value | None:
        return self._value_at(len(self.log.steps) - 1, register) if register else None

    def _value_at(self, at: int, register: str | None) -> Value | None:
        if register is None or not 0 <= at < len(self.log.steps):
            return None
        return self.log.steps[at].before.get(register)

    def _value_made(self, register: str | None) -> Value | None:
        """What the value of a register was when it was made, if nothing else went into it."""
        steps = self.log.steps
        if register is None or not steps:
            return None
        origin = follow(steps, len(steps) - 1, register)
        if origin.made is None or any(change.other for change in origin.changes):
            return None
        made = steps[origin.made].changed.get(origin.place)
        return made if made is not None else self._value_at(origin.made + 1, origin.place)

    def _origin(self, rule: Rule, register: str | None) -> tuple[Origin | None, tuple[int, str] | None]:
        """Where the followed value came from, and the step and register of the number that moved it."""
        steps = self.log.steps
        if rule.follow is Follow.NOTHING or register is None or not steps:
            return None, None
        last = len(steps) - 1
        origin = follow(steps, last, register)
        moved = [(change.at, change.other) for change in origin.changes if change.other is not None]
        own = operand(steps[last].text)
        if own is not None and base_register(steps[last].text) == register:
            moved.insert(0, (last, own))
        if rule.follow is not Follow.INDEX:
            return origin, None
        if not moved:
            return None, None
        at, other = moved[0]
        number = follow(steps, at, other)
        for change in number.changes:  # back to the index, from its offset in bytes
            if not change.scales:
                break
            at, other = change.at, change.register
        return number, (at, other)

    # ------------------------------------------------------------ places

    def _slot(self, rule: Rule, match: re.Match[str]) -> tuple[int, str]:
        """The instruction that the diagnostic points at; for what took too long, that of the line walked most often."""
        if rule.code is Code.E1126 and self.log.walked:
            return self._most_walked()
        if rule.whole:
            return 0, ""
        told = groups(match).get("slot")
        if told is not None:
            return int(told), ""
        return (self.log.steps[-1].slot if self.log.steps else 0), ""

    def _most_walked(self) -> tuple[int, str]:
        branches = {step.slot for step in self.log.steps if step.text.startswith("if ")}
        lines: Counter[tuple[str, int]] = Counter()
        first: dict[tuple[str, int], int] = {}
        for slot, count in sorted(self.log.walked.items()):
            if branches and slot not in branches:
                continue
            record = self.source.line(slot)
            key = ("", slot) if record is None else (record.file, record.line)
            lines[key] = max(lines[key], count)
            first.setdefault(key, slot)
        key, count = max(lines.items(), key=lambda item: item[1])
        return first[key], f"walked {count} times on the last way alone" if count > 1 else ""

    def _place(self, slot: int) -> Place:
        text = next((step.text for step in reversed(self.log.steps) if step.slot == slot), "")
        place = place_of(self.source, slot, text)
        self.places.append(place)
        return place

    def _labels(
        self, rule: Rule, words: Facts, origin: Origin | None, match: re.Match[str]
    ) -> Iterator[Label]:
        """At most a few other places that take part, none of them twice."""
        seen = {self.places[0].span}
        for slot, text in self._marks(rule, origin, match):
            place = place_of(self.source, slot, self._text(slot))
            if place.span in seen or len(seen) > _MOST_LABELS:
                continue
            seen.add(place.span)
            self.places.append(place)
            yield Label(place.span, text.format_map(words))

    def _marks(self, rule: Rule, origin: Origin | None, match: re.Match[str]) -> Iterator[tuple[int, str]]:
        steps = self.log.steps
        acquired = groups(match).get("acquired")
        if acquired is not None and rule.acquired:
            yield int(acquired), rule.acquired
        if origin is not None:
            if origin.made is not None and rule.origin:
                yield steps[origin.made].slot, rule.origin
            if origin.tests and rule.test:
                yield steps[origin.tests[0]].slot, rule.test
            if rule.call:
                start = -1 if origin.made is None else origin.made
                calls = [step for step in steps[start + 1 : -1] if rule.calls(step.text)]
                if calls:
                    yield calls[-1].slot, rule.call
        if steps and steps[-1].frame and not rule.whole:
            callers = [step for step in steps if step.frame == steps[-1].frame - 1 and is_call(step.text)]
            if callers:
                yield callers[-1].slot, "called here"

    def _text(self, slot: int) -> str:
        return next((step.text for step in reversed(self.log.steps) if step.slot == slot), "")

    # ------------------------------------------------------------ words

    def _said(self) -> Iterator[str]:
        """The kernel's own words."""
        for line in self.log.reason[:_SHOWN_REASON]:
            yield f"the kernel said: {line}"
        report = [line for line in self.log.report if line.strip()]
        if report:
            yield "\n".join(["the kernel's own report:", *report])

    def _knew(
        self, rule: Rule, match: re.Match[str], register: str | None, index: tuple[int, str] | None
    ) -> Iterator[str]:
        """The instruction, and what the verifier knew of the registers that the message is about."""
        steps: Sequence[Step] = self.log.steps
        if not steps or rule.whole:
            return
        about = rule.follow is not Follow.NOTHING
        names = [register, *(f"R{number}" for number in _REFERS.findall(match.string))]
        known = {name: self._value(name) for name in names if name and about}
        told = [f"{name} = {value.text}" for name, value in known.items() if value is not None]
        last = [f"last known: {', '.join(told)}"] if told else []
        yield "; ".join([f"the instruction: {steps[-1].slot}: {steps[-1].text}", *last])
        number = self._value_at(*index) if index is not None else None
        if index is not None and number is not None:
            step = steps[index[0]]
            yield f"the number: {index[1]} = {number.text}, before instruction {step.slot}: {step.text}"

    def _blame(self, rule: Rule) -> tuple[str, ...]:
        """Whose mistake it is, where it is not the program's."""
        match rule.blame:
            case Blame.COMPILER if self.source.ours:
                return (f"this is a mistake of pyebpf, not of your program: {_REPORT}",)
            case Blame.COMPILER:
                return ("this is a mistake of whatever made the instructions, not of a program's source",)
            case Blame.MISSED if self.source.ours:
                return (f"pyebpf should have told this when it compiled the program: {_REPORT}",)
            case _:
                return ()
