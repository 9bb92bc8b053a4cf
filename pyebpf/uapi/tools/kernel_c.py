"""Parses the part of C in which the kernel decides which program may call which helper.

The kernel's ``*_func_proto()`` functions are switches over the helper's number, with a few tests of the
program between. This module knows just the statements that they consist of; ``kernel_switch`` runs them.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path

TOKEN = re.compile(
    r'"(?:\\.|[^"\\])*"|[A-Za-z_]\w*|\d+\w*|->|==|!=|<=|>=|&&|\|\||<<|>>|\.\.\.|[-+*/%&|^~!<>=?:;,.(){}\[\]]'
)
DIRECTIVE = re.compile(
    r"^[ \t]*#[ \t]*(ifdef|ifndef|if|else|elif|endif|define|include|undef)\b[ \t]*([^\n]*)$", re.M
)


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
