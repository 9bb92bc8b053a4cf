"""From the text of a verifier's log to the way through the program that led to the refusal.

The log of a refusal tells, line by line::

    func#0 @0                                     remarks, which are left out
    0: R1=ctx() R10=fp0                           all that is known before instruction 0
    ; value = counts[key] @ probe.py:9            the source, which is left out: the line records say more
    5: (85) call bpf_map_lookup_elem#1   ; R0=…   an instruction, and what it changed
    from 3 to 7: R0=… R10=fp0                     the verifier goes back, and follows another way
    6: frame1: (95) exit                          instructions of functions that were called
    R6 invalid mem access 'map_value_or_null'     the reason: everything after the last instruction
    processed 7 insns (limit 1000000) …           summaries

What does not look like any of these belongs to the reason where it stands at the end, and is skipped elsewhere.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from pyebpf.hints import TYPE_CHECKING
from pyebpf.records import dataclass, field
from pyebpf.runtime.rejection.state import Value, states

if TYPE_CHECKING:
    from typing import Final


_LONGEST: Final = 2 << 20
"""How much of a log is read: its end. What led to the refusal is there; the verifier may write a gigabyte."""

_LONGEST_LINE: Final = 20_000
_LONGEST_REASON: Final = 500
_MOST_REASONS: Final = 40
"""Bounds for what is no log of any kernel: patterns are searched in the reason."""

_ABSURD: Final = re.compile(r"\d{40,}")
"""No number of a log is so long; Python refuses to convert them."""

_INSN: Final = re.compile(r"\s*(\d+): (?:frame(\d+): )?\(([0-9a-f]{2})\) ?(.*)")
_STATE: Final = re.compile(r"(\d+): (?:frame(\d+): )?((?:R\d+|fp-\d+)(?:_[rwD]+)?=.*|)")
_INNER: Final = re.compile(r" ?(?:frame(\d+): ?)?((?:R\d+|fp-\d+)(?:_[rwD]+)?=.*)")
_JUMP: Final = re.compile(r"(?:from|to caller at) (\d+)(?: to (\d+))?(?: \(speculative execution\))?:(.*)")
_AFTER: Final = re.compile(r" +(\d+): (?=(?:frame\d+: )?(?:R\d+|fp-\d+)(?:_[rwD]+)?=)")
_FRAME: Final = re.compile(r"\s*frame(\d+): ?")
_SUMMARY: Final = re.compile(
    r"processed \d+ insns|verification time|stack depth |max_states_per_insn|insns_processed"
)
_VALIDATING: Final = re.compile(r"Validating \w+\(\) func#\d+")
_REPORT: Final = re.compile(r"Verification failed: (?:([^:]+): )?(.+)")
_GIVEN_UP: Final = re.compile(
    r"BPF program is too large\. Processed \d+ insn|The sequence of \d+ jumps is too complex"
)
"""These come when an instruction has been written, which does not always end its line before."""
_REMARKS: Final = re.compile(
    r"; |func#\d+ @|Func#\d+ |Live regs before|last_idx|regs=|parent (?:didn't|already)|mark_precise"
    r"|\s*\d+: [.0-9]{11}|propagating|(?:cur|old|caller|callee)(?: state)?:|returning from|(?:from|to) caller"
    r"|async_|enter |leave |frame \d+: |\d+: safe|hit |update_loop"
)
_HARMLESS: Final = re.compile(r"arg#\d+ reference type\('UNKNOWN|Global function \w+\(\) (?:doesn't|return)")
"""What the kernel says about the main function and does not mean; a reason only where there is no other."""


@dataclass(slots=True)
class Step:
    """One instruction on the way. ``slot``: its number; ``text``: the kernel's disassembly; ``frame``: how many calls
    deep; ``before``: what is known before it; ``changed``: what the log told after it."""

    slot: int
    text: str
    frame: int = 0
    before: Mapping[str, Value] = field(default_factory=dict)
    changed: Mapping[str, Value] = field(default_factory=dict)
    jumped: bool = False


@dataclass(slots=True)
class Log:
    """``steps``: the way to the refusal, in order; ``reason``: the lines that tell it.

    ``report``: the structured report of newer kernels, whole; ``category`` and ``problem``: its headline.
    ``walked``: how often each instruction was looked at in the part of the log that was read.
    """

    steps: list[Step] = field(default_factory=list)
    reason: list[str] = field(default_factory=list)
    report: list[str] = field(default_factory=list)
    category: str = ""
    problem: str = ""
    walked: dict[int, int] = field(default_factory=dict)


def parse(text: str) -> Log:
    """Read a log. Never raises, whatever the text: what it does not understand is missing in the result."""
    if len(text) > _LONGEST:
        text = text[text.index("\n", -_LONGEST) + 1 :] if "\n" in text[-_LONGEST:] else text[-_LONGEST:]
    text = _ABSURD.sub("0", text)
    reader = _Reader()
    for line in text.splitlines():
        reader.line(line[:_LONGEST_LINE].rstrip("\r\0 "))
    log = reader.log
    log.reason = [line for line in log.reason if not _HARMLESS.match(line)] or log.reason
    return log


class _Reader:
    """Goes through the lines. ``known``: per frame, what is known now; ``frame``: the one that runs."""

    def __init__(self) -> None:
        self.log = Log()
        self.known: dict[int, dict[str, Value]] = {0: {}}
        self.frame = 0
        self.in_report = False

    def line(self, text: str) -> None:
        """Take the next line."""
        log = self.log
        given_up = _GIVEN_UP.search(text)
        if given_up and given_up.start() > 0:
            self.line(text[: given_up.start()].rstrip())
            text = text[given_up.start() :]
        summary = _SUMMARY.search(text)
        if summary:  # some messages end without a new line
            text, self.in_report = text[: summary.start()].rstrip(), False
        found = _REPORT.match(text)
        if found:
            log.category, log.problem, self.in_report = found[1] or "", found[2][:_LONGEST_REASON], True
            log.report.clear()
        if self.in_report:
            log.report.append(text[:_LONGEST_REASON])
        elif insn := _INSN.fullmatch(text):
            self._instruction(insn)
        elif state := _STATE.fullmatch(text) or _INNER.fullmatch(text):
            self._state(state)
            if state.re is _STATE:
                log.reason.clear()
        elif jump := _JUMP.fullmatch(text):
            self._jump(jump)
        elif _VALIDATING.match(text):  # a function of its own, from its start
            log.steps.clear()
            self._enter(0, "")
        elif text.strip() and not _REMARKS.match(text):
            log.reason.append(text.strip()[:_LONGEST_REASON])
            del log.reason[:-_MOST_REASONS]

    def _instruction(self, insn: re.Match[str]) -> None:
        log = self.log
        slot = int(insn[1])
        text, after, told = insn[4], "", ""
        state = _AFTER.search(text)
        if state:  # the way goes on elsewhere; the state is that of the place where
            text, told = text[: state.start()], text[state.end() :]
        text, _, after = text.partition(";")
        frame = self._frame_of(after, insn[2])
        known = self.known.setdefault(frame, {})
        changed = states(after)
        log.steps.append(Step(slot, text.strip(), frame, dict(known), changed, jumped=bool(state)))
        log.walked[slot] = log.walked.get(slot, 0) + 1
        log.reason.clear()
        if text.startswith("call"):
            for number in range(6):
                known.pop(f"R{number}", None)
        known.update(changed)
        if told:
            self._enter(self._frame_of(told), told)

    def _frame_of(self, text: str, number: str | None = None) -> int:
        found = _FRAME.match(text)
        return int(number or (found[1] if found else self.frame))

    def _enter(self, frame: int, text: str) -> None:
        """From here on the code of ``frame`` runs, of which ``text`` tells everything."""
        self.frame = frame
        self.known[frame] = states(text)
        for deeper in [n for n in self.known if n > frame]:
            del self.known[deeper]

    def _state(self, state: re.Match[str]) -> None:
        *_, frame, text = state.groups()
        self._enter(int(frame or 0), text)

    def _jump(self, jump: re.Match[str]) -> None:
        """The verifier takes up what it left for later: the way is that to the branch, and goes on from there."""
        steps = self.log.steps
        if jump[2] is not None:
            back = next((at for at in range(len(steps) - 1, -1, -1) if steps[at].slot == int(jump[1])), None)
            if back is not None:
                del steps[back + 1 :]
                steps[back].jumped = True
        if jump[3].strip():
            found = _FRAME.match(jump[3])
            self._enter(int(found[1]) if found else 0, jump[3])
        self.log.reason.clear()
