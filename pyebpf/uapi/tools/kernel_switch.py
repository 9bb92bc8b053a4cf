"""Runs the functions in which the kernel decides which program may call which helper.

A ``*_func_proto()`` function is run for one helper and one program, following calls from one such function
to the next. The answer are the prototypes that it may return, and what must hold for each: a configuration
option around the case, a capability, the kernel not locked down, …. An unknown test is an error.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from pyebpf.uapi.tools.kernel_c import Functions, Statement, matching, top_level

# Facts about what a result depends on: (kind, value), kinds as in pyebpf.uapi.helpers.ConditionKind.
Fact = tuple[str, str]


@dataclass(frozen=True)
class Program:
    """A program as far as the kernel asks for it when it looks a helper up. Names are those of the UAPI."""

    prog_type: str
    attach_type: str
    sleepable: bool


@dataclass(frozen=True)
class Outcome:
    """One possible answer: the name of the prototype (None: not allowed) and the facts on which it rests."""

    proto: str | None
    facts: frozenset[Fact] = frozenset()


@dataclass
class Frame:
    """The state of one run through a function: variables hold outcomes."""

    helper: str
    program: Program
    variables: dict[str, Outcome] = field(default_factory=dict)


# What running statements leads to: a return, or ('end' or 'break', facts gathered on the way).
Step = Outcome | tuple[str, frozenset[Fact]]

NOTHING = Outcome(None)
FORM_OF_CAPABILITY = {
    "bpf_capable ( )": "CAP_BPF",
    "perfmon_capable ( )": "CAP_PERFMON",
    "capable ( CAP_SYS_ADMIN )": "CAP_SYS_ADMIN",
}
TRAMPOLINE = ("BPF_TRACE_FENTRY", "BPF_TRACE_FEXIT", "BPF_MODIFY_RETURN")


def decide(test: list[str], frame: Frame) -> list[tuple[bool, frozenset[Fact]]]:
    """The ways in which ``test`` may turn out for the program at hand, each with the facts that it needs."""
    text, program = " ".join(test), frame.program
    if test[0] == "!" and not ("&&" in test or "||" in test or "==" in test):
        return [(not truth, facts) for truth, facts in decide(test[1:], frame)]
    for operator, absorbing in (("||", True), ("&&", False)):
        split = top_level(test, operator)
        if split is not None:
            ways: list[tuple[bool, frozenset[Fact]]] = []
            for truth, facts in decide(test[:split], frame):
                if truth == absorbing:
                    ways.append((truth, facts))
                else:
                    ways += [(t, facts | f) for t, f in decide(test[split + 1 :], frame)]
            return ways
    if test[0] == "(" and matching(test, 0) == len(test) - 1:
        return decide(test[1:-1], frame)
    if text.startswith("trace_set_clr_event ("):  # true if tracing could not be switched on: only a warning
        return [(False, frozenset())]
    if text in ("1", "md_dst"):  # md_dst: per-CPU memory that the kernel allocates at the first use
        return [(True, frozenset())]
    if text in frame.variables:
        outcome = frame.variables[text]
        return [(outcome.proto is not None, frozenset())]
    capability = FORM_OF_CAPABILITY.get(text)
    if capability is None and (match := re.fullmatch(r"bpf_token_capable \( .* , (CAP_\w+) \)", text)):
        capability = match[1]
    if capability is not None:
        return [(True, frozenset({("CAPABILITY", capability)})), (False, frozenset())]
    if match := re.fullmatch(r"prog -> expected_attach_type (==|!=) (\w+)", text):
        return [((program.attach_type == match[2]) == (match[1] == "=="), frozenset())]
    if match := re.fullmatch(r"prog -> type == (\w+)", text):
        return [(program.prog_type == match[1], frozenset())]
    if text in ("prog -> sleepable", "prog -> aux -> sleepable"):
        return [(program.sleepable, frozenset())]
    if match := re.fullmatch(r"security_locked_down \( (\w+) \) < 0", text):
        return [(False, frozenset({("LOCKDOWN", match[1])})), (True, frozenset())]
    if text == "bpf_prog_check_recur ( prog )":  # chooses between two prototypes of one shape
        return [(False, frozenset())]
    if text == "bpf_prog_has_trampoline ( prog )":
        lsm = program.prog_type == "BPF_PROG_TYPE_LSM" and program.attach_type == "BPF_LSM_MAC"
        tracing = program.prog_type == "BPF_PROG_TYPE_TRACING" and program.attach_type in TRAMPOLINE
        return [(lsm or tracing, frozenset())]
    if text == "is_kprobe_multi ( prog )" or text.endswith("== BPF_TRACE_KPROBE_MULTI"):
        return [(program.attach_type in ("BPF_TRACE_KPROBE_MULTI", "BPF_TRACE_KPROBE_SESSION"), frozenset())]
    if text == "is_uprobe_multi ( prog )":
        return [(program.attach_type in ("BPF_TRACE_UPROBE_MULTI", "BPF_TRACE_UPROBE_SESSION"), frozenset())]
    if match := re.match(r"btf_id_set_contains \( & (\w+)", text):
        return [(True, frozenset({("ATTACH_TARGET", match[1])})), (False, frozenset())]
    if text.startswith(("prog_ops_moff ( prog ) != offsetof", "prog_ops_moff != offsetof")):
        return [
            (True, frozenset({("ATTACH_TARGET", "tcp_congestion_ops_not_release")})),
            (False, frozenset()),
        ]
    raise SyntaxError(f"a test that this reader does not know: {text}")


class Reader:
    """Answers which prototype a program gets for a helper."""

    def __init__(self, functions: Functions) -> None:
        self.functions = functions

    def lookup(self, function: str, helper: str, program: Program) -> list[Outcome]:
        """What ``function`` may answer for ``helper`` (as ``BPF_FUNC_x``), allowed outcomes only."""
        frame = Frame(helper, program)
        found = {
            o for o in self.run(self.functions.body(function), frame, frozenset()) if o.proto is not None
        }
        return sorted(found, key=lambda o: (len(o.facts), o.proto or "", sorted(o.facts)))

    def run(self, body: list[Statement], frame: Frame, facts: frozenset[Fact]) -> Iterator[Outcome]:
        """The outcomes of a function body; falling off its end is 'not allowed'."""
        for outcome in self.statements(body, frame, facts):
            yield outcome if isinstance(outcome, Outcome) else NOTHING

    def statements(self, body: list[Statement], frame: Frame, facts: frozenset[Fact]) -> Iterator[Step]:
        """Run ``body``: an Outcome where it returns, else ('end' or 'break', facts gathered)."""
        for index, node in enumerate(body):
            rest = body[index + 1 :]
            match node.kind:
                case "return":
                    for outcome in self.value(node.expression, frame):
                        yield Outcome(outcome.proto, outcome.facts | facts)
                    return
                case "break":
                    yield ("break", facts)
                    return
                case "assign":
                    for outcome in self.value(node.expression, frame):
                        known = dict(frame.variables)
                        frame.variables[node.target] = outcome
                        yield from self.statements(rest, frame, facts)
                        frame.variables = known
                    return
                case "if":
                    for truth, needed in decide(node.expression, frame):
                        branch = node.body if truth else node.otherwise
                        for step in self.statements(branch, frame, facts | needed):
                            if isinstance(step, tuple) and step[0] == "end":
                                yield from self.statements(rest, frame, step[1])
                            else:
                                yield step
                    return
                case "switch":
                    for step in self.switch(node, frame, facts):
                        if isinstance(step, tuple):
                            yield from self.statements(rest, frame, step[1])
                        else:
                            yield step
                    return
        yield ("end", facts)

    def switch(self, node: Statement, frame: Frame, facts: frozenset[Fact]) -> Iterator[Step]:
        """Run a switch over the helper or the attach type."""
        subject = " ".join(node.expression)
        value = {
            "func_id": frame.helper,
            "which": frame.helper,
            "prog -> expected_attach_type": frame.program.attach_type,
        }[subject]
        chosen, options = None, tuple[str, ...]()
        for index, case in enumerate(node.cases):
            for label, around in case.labels:
                if label == value:
                    chosen, options = index, around
        if chosen is None:
            chosen = next(
                (i for i, c in enumerate(node.cases) if any(label == "default" for label, _ in c.labels)),
                None,
            )
        else:
            facts |= {("CONFIG", option) for option in options if option.startswith("CONFIG_")}
        if chosen is None:
            yield ("end", facts)
            return
        body = [statement for case in node.cases[chosen:] for statement in case.body]
        yield from self.statements(body, frame, facts)

    def value(self, expression: list[str], frame: Frame) -> list[Outcome]:
        """The outcomes that an expression of type ``bpf_func_proto *`` may have."""
        question = top_level(expression, "?")
        if question is not None:
            colon = len(expression) - 1 - expression[::-1].index(":")
            found = []
            for truth, facts in decide(expression[:question], frame):
                branch = expression[question + 1 : colon] if truth else expression[colon + 1 :]
                found += [Outcome(o.proto, o.facts | facts) for o in self.value(branch, frame)]
            return found
        if expression == ["NULL"]:
            return [NOTHING]
        if expression[0] == "&":
            return [Outcome(expression[1])]
        if len(expression) == 1:
            return [frame.variables[expression[0]]]
        if expression[0] == "(" and matching(expression, 0) == len(expression) - 1:
            return self.value(expression[1:-1], frame)
        callee = expression[0]
        if callee == "bpf_iter_get_func_proto":  # asks the iterator: see extract_helpers.ITERATORS
            return [NOTHING]
        if callee in self.functions.source and expression[1] == "(":
            inner = Frame(frame.helper, frame.program)
            return list(self.run(self.functions.body(callee), inner, frozenset()))
        raise SyntaxError(f"a value that this reader does not know: {' '.join(expression)}")
