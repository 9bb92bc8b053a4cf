"""Reads the part of C in which the kernel decides which program may call which helper.

The kernel's ``*_func_proto()`` functions are switches over the helper's number, with a few tests of the
program between. This module parses such a function and runs it for one helper and one program, following
calls from one such function to the next, and answers with the prototypes that it may return and what must
hold for each (a configuration option around the case, a capability, the kernel not locked down, …).
It knows just the statements that these functions consist of and fails on any test that it does not know.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

TOKEN = re.compile(
    r'"(?:\\.|[^"\\])*"|[A-Za-z_]\w*|\d+\w*|->|==|!=|<=|>=|&&|\|\||<<|>>|\.\.\.|[-+*/%&|^~!<>=?:;,.(){}\[\]]'
)
DIRECTIVE = re.compile(
    r"^[ \t]*#[ \t]*(ifdef|ifndef|if|else|elif|endif|define|include|undef)\b[ \t]*([^\n]*)$", re.M
)

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
class Case:
    """The statements after some labels of a switch, with the configuration options around each label."""

    labels: list[tuple[str, tuple[str, ...]]]
    body: list[Statement]


@dataclass
class Statement:
    """A statement: ``kind`` is return, if, switch, assign, break or other; the rest as that kind has it."""

    kind: str
    expression: list[str] = field(default_factory=list)
    target: str = ""
    body: list[Statement] = field(default_factory=list)
    otherwise: list[Statement] = field(default_factory=list)
    cases: list[Case] = field(default_factory=list)


def strip_comments(text: str) -> str:
    """C source without comments."""
    return re.sub(r"/\*.*?\*/|//[^\n]*", " ", text, flags=re.S)


def configuration(directive: str, argument: str) -> str:
    """The option that ``#ifdef X`` or ``#if IS_ENABLED(X)`` asks for; '' where the test is not for one
    option."""
    match = re.fullmatch(
        r"(?:defined|IS_ENABLED|IS_BUILTIN|IS_REACHABLE)?\s*\(?\s*(CONFIG_\w+)\s*\)?\s*", argument
    )
    return match[1] if match and directive in ("ifdef", "if") else ""


def marked_tokens(text: str) -> list[str]:
    """Tokens of ``text``; preprocessor conditionals become ``#+CONFIG_X`` and ``#-``."""
    tokens: list[str] = []
    for line in text.split("\n"):
        match = DIRECTIVE.match(line)
        if match is None:
            tokens += TOKEN.findall(line)
        elif match[1] in ("ifdef", "ifndef", "if"):
            tokens.append("#+" + configuration(match[1], match[2]))
        elif match[1] in ("else", "elif"):
            tokens += ["#-", "#+!"]
        elif match[1] == "endif":
            tokens.append("#-")
    return tokens


class Parser:
    """Recursive descent over the tokens of one function body, keeping track of ``#ifdef``."""

    def __init__(self, tokens: list[str]) -> None:
        self.tokens = tokens
        self.at = 0
        self.options: list[str] = []

    def peek(self) -> str:
        """The next token that is not a preprocessor mark."""
        while self.at < len(self.tokens) and self.tokens[self.at].startswith("#"):
            mark = self.tokens[self.at]
            if mark.startswith("#+"):
                self.options.append(mark[2:])
            else:
                self.options.pop()
            self.at += 1
        return self.tokens[self.at]

    def take(self, expected: str | None = None) -> str:
        """Consume the next token, which must be ``expected`` if that is given."""
        token = self.peek()
        if expected is not None and token != expected:
            raise SyntaxError(
                f"{expected!r} expected, {token!r} found at {self.tokens[self.at - 8 : self.at + 8]}"
            )
        self.at += 1
        return token

    def until(self, end: str) -> list[str]:
        """The tokens up to ``end`` outside brackets; consumes ``end``."""
        found: list[str] = []
        depth = 0
        while depth or self.peek() != end:
            token = self.take()
            depth += (token in "([{") - (token in ")]}")
            found.append(token)
        self.take(end)
        return found

    def block(self) -> list[Statement]:
        """``{ … }`` or a single statement."""
        if self.peek() != "{":
            return [self.statement()]
        self.take("{")
        body: list[Statement] = []
        while self.peek() != "}":
            body.append(self.statement())
        self.take("}")
        return body

    def switch(self) -> Statement:
        """What follows ``switch``."""
        self.take("(")
        node = Statement("switch", self.until(")"))
        self.take("{")
        while self.peek() != "}":
            labels: list[tuple[str, tuple[str, ...]]] = []
            while self.peek() in ("case", "default"):
                options = tuple(o for o in self.options if o)
                label = self.take()
                labels.append((" ".join(self.until(":")) if label == "case" else "default", options))
                if label == "default":
                    self.take(":")
            body: list[Statement] = []
            while self.peek() not in ("case", "default", "}"):
                body.append(self.statement())
            node.cases.append(Case(labels, body))
        self.take("}")
        return node

    def statement(self) -> Statement:
        """One statement."""
        token = self.peek()
        if token == "{":
            return Statement("if", ["1"], body=self.block())
        if token == "switch":
            self.take()
            return self.switch()
        if token == "if":
            self.take()
            self.take("(")
            node = Statement("if", self.until(")"))
            node.body = self.block()
            if self.peek() == "else":
                self.take()
                node.otherwise = self.block()
            return node
        if re.match(r"\w*for_each\w*$", token):
            self.take()
            self.take("(")
            self.until(")")
            self.block()
            return Statement("other")
        tokens = self.until(";")
        if tokens[:1] == ["return"]:
            return Statement("return", tokens[1:])
        if tokens[:1] == ["break"]:
            return Statement("break")
        if len(tokens) > 2 and tokens[1] == "=":
            return Statement("assign", tokens[2:], target=tokens[0])
        return Statement("other", tokens)


class Functions:
    """The ``*_func_proto()`` functions of a kernel tree, parsed when first asked for."""

    HEAD = re.compile(
        r"^(?:(?:static|const|inline|__weak)\s+)*struct\s+bpf_func_proto\s*\*\s*(\w+)\s*\(([^)]*)\)\s*\{(.*?)^\}",
        re.S | re.M,
    )

    def __init__(self, files: list[Path]) -> None:
        self.source: dict[str, str] = {}
        self.parsed: dict[str, list[Statement]] = {}
        for path in files:
            for match in self.HEAD.finditer(strip_comments(path.read_text(errors="replace"))):
                known = self.source.get(match[1], "")
                if len(match[3]) > len(known):  # a stub for a configuration without the feature is shorter
                    self.source[match[1]] = match[3]

    def body(self, name: str) -> list[Statement]:
        """The statements of function ``name``."""
        if name not in self.parsed:
            self.parsed[name] = Parser(marked_tokens("{" + self.source[name] + "}")).block()
        return self.parsed[name]


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


def matching(tokens: list[str], opening: int) -> int:
    """The index of the bracket that closes the one at ``opening``."""
    depth = 0
    for index in range(opening, len(tokens)):
        depth += (tokens[index] in "([{") - (tokens[index] in ")]}")
        if depth == 0:
            return index
    raise SyntaxError("unbalanced brackets")


def top_level(tokens: list[str], operator: str) -> int | None:
    """The index of the first ``operator`` outside brackets."""
    depth = 0
    for index, token in enumerate(tokens):
        depth += (token in "([{") - (token in ")]}")
        if depth == 0 and token == operator:
            return index
    return None


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
