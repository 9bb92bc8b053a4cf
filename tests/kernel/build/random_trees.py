"""Random typed trees: integers, nested control flow, exceptions, calls. Made so that every program ends soon and
the rules of the tree hold (shift counts in range, divisors marked, no jumps out of nothing)."""

from __future__ import annotations

import random

from pyebpf import layout as lay
from pyebpf.declare import GlobalDecl
from pyebpf.frontend import tree
from pyebpf.frontend.types import I64, U64, Int, Origin, Ref
from tests.kernel.build.running import Case
from tests.unit.build import trees as t

RAISED = (tree.Exc.VALUE, tree.Exc.INDEX, tree.Exc.KEY, tree.Exc.OS, tree.Exc.ASSERTION)
CAUGHT = (*RAISED, tree.Exc.LOOKUP, tree.Exc.EXCEPTION, tree.Exc.ZERO_DIVISION)
EVERYTHING = frozenset({*RAISED, tree.Exc.ZERO_DIVISION})
NUMBERS = (0, 1, 2, 3, 7, 8, 10, 63, 255, 1 << 31, (1 << 63) - 1, -1, -2, -8, -1000, -(1 << 63))
SIGNED_ONLY = ("+", "-", "*", "&", "|", "^")


class Maker:
    """Makes one program from a seed."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.case = Case(error_verdict=1000)
        self.inputs = [self._input(k) for k in range(4)]
        self.functions: list[tree.Function] = []
        self.locals: list[tree.Local] = []
        self.shown = 0
        self.size = 0

    def _input(self, number: int) -> tree.Expr:
        layout = self.random.choice((lay.I64, lay.U64, lay.I16, lay.U8, lay.BE32))
        decl = GlobalDecl(layout, layout(self.random.choice(NUMBERS)), name=f"in{number}")
        self.case.program.globals.append(decl)
        return t.read(tree.GlobalVar(span=t.AT, decl=decl, type=Ref(layout, Origin.GLOBAL, True)))

    # ------------------------------------------------------------ expressions

    def number(self, depth: int) -> tree.Expr:
        """An expression of type Int."""
        choice = self.random.random()
        if depth <= 0 or choice < 0.2:
            return self.leaf()
        if choice < 0.7:
            return self.arith(depth)
        if choice < 0.78:
            layout = self.random.choice((lay.U8, lay.I8, lay.U16, lay.I32, lay.U32))
            return tree.Wrap(span=t.AT, layout=layout, operand=self.number(depth - 1), type=t.integer(layout))
        if choice < 0.86:
            then, otherwise = self.signed(depth - 1), self.signed(depth - 1)
            return t.conditional(self.test(depth - 1), then, otherwise, I64)
        if choice < 0.92:
            return tree.ToInt(span=t.AT, operand=self.test(depth - 1), type=Int(False, 0, 1))
        if self.functions and choice < 0.97:
            callee = self.random.choice(self.functions)
            return t.call(callee, *(self.signed(depth - 1) for _ in callee.params))
        return tree.Negate(span=t.AT, operand=self.signed(depth - 1), type=I64)

    def leaf(self) -> tree.Expr:
        """A literal, an input or a variable."""
        choice = self.random.random()
        if choice < 0.35:
            return t.num(self.random.choice(NUMBERS))
        if choice < 0.6 or not self.locals:
            return self.random.choice(self.inputs)
        return t.get(self.random.choice(self.locals))

    def signed(self, depth: int) -> tree.Expr:
        """A number of kind i64."""
        found = self.number(depth)
        assert isinstance(found.type, Int)
        return tree.Reinterpret(span=t.AT, operand=found, type=I64) if found.type.unsigned else found

    def arith(self, depth: int) -> tree.Expr:
        """An operation; the operands are of one kind where the operation tells kinds apart."""
        left = self.number(depth - 1)
        assert isinstance(left.type, Int)
        op = self.random.choice((*SIGNED_ONLY, "//", "%", "<<", ">>"))
        if op in ("<<", ">>"):
            right: tree.Expr = t.arith("&", self.signed(depth - 1), t.num(63), Int(False, 0, 63))
            return t.arith(op, left, right, U64 if left.type.unsigned else I64)
        right = self.number(depth - 1)
        assert isinstance(right.type, Int)
        if left.type.unsigned != right.type.unsigned:
            if left.type.unsigned:
                left = tree.Reinterpret(span=t.AT, operand=left, type=I64)
            else:
                right = tree.Reinterpret(span=t.AT, operand=right, type=I64)
        assert isinstance(left.type, Int)
        type_ = U64 if left.type.unsigned else I64
        return t.arith(op, left, right, type_, may_be_zero=op in ("//", "%"))

    def test(self, depth: int) -> tree.Expr:
        """An expression of type Bool."""
        choice = self.random.random()
        if depth > 0 and choice < 0.2:
            return t.not_(self.test(depth - 1))
        if depth > 0 and choice < 0.5:
            join = self.random.choice((t.both, t.either))
            return join(*(self.test(depth - 1) for _ in range(self.random.randint(2, 3))))
        if choice < 0.6:
            return tree.Truth(span=t.AT, operand=self.number(depth - 1))
        op = self.random.choice(("==", "!=", "<", "<=", ">", ">="))
        return t.compare(op, self.number(depth - 1), self.number(depth - 1))

    # ------------------------------------------------------------ statements

    def body(self, depth: int, looping: bool, leaving: bool = False) -> tree.Body:
        """A few statements; ``leaving``: they may end in a jump."""
        made: list[tree.Stmt] = []
        for _ in range(self.random.randint(1, 3)):
            made.append(self.statement(depth, looping, leaving))
            if isinstance(made[-1], tree.Break | tree.Continue | tree.Return | tree.Raise):
                break
        return tuple(made)

    def statement(self, depth: int, looping: bool, leaving: bool) -> tree.Stmt:
        """One statement."""
        self.size += 1
        choice = self.random.random()
        if depth <= 0 or choice < 0.3 or self.size > 60:
            return self.simple(looping, leaving)
        if choice < 0.55:
            orelse = self.body(depth - 1, looping) if self.random.random() < 0.5 else ()
            return t.if_(self.test(2), *self.body(depth - 1, looping, True), orelse=orelse)
        if choice < 0.7:
            return self.loop(depth)
        return self.guarded(depth, looping)

    def loop(self, depth: int) -> tree.Stmt:
        """A loop of at most four rounds."""
        variable = t.local(f"i{self.size}")
        first = self.random.randint(-2, 2)
        step = self.random.choice((1, 1, 2, -1))
        last = first + step * self.random.randint(0, 3)
        orelse = self.body(depth - 1, False) if self.random.random() < 0.3 else ()
        if self.random.random() < 0.3:
            values = tuple(self.random.choice(NUMBERS) for _ in range(self.random.randint(1, 3)))
            return tree.ForConstants(
                span=t.AT, local=variable, values=values, body=self.body(depth - 1, True), orelse=orelse
            )
        loop_body = self.body(depth - 1, True)
        return t.for_range(variable, t.num(first), t.num(last), *loop_body, step=step, orelse=orelse)

    def guarded(self, depth: int, looping: bool) -> tree.Stmt:
        """A try statement."""
        handlers = []
        for _ in range(self.random.randint(0, 2)):
            classes = tuple(self.random.sample(CAUGHT, self.random.randint(1, 2)))
            inner = self.body(depth - 1, looping)
            if self.random.random() < 0.2:
                inner = (*inner[:-1], t.RERAISE)
            errno = self.random.choice(self.locals) if self.random.random() < 0.4 else None
            handlers.append(t.catch(*classes, body=inner, errno=errno))
        final = self.body(depth - 1, looping) if not handlers or self.random.random() < 0.4 else ()
        orelse = self.body(depth - 1, looping) if handlers and self.random.random() < 0.3 else ()
        return t.try_(*self.body(depth - 1, looping), handlers=tuple(handlers), orelse=orelse, final=final)

    def simple(self, looping: bool, leaving: bool) -> tree.Stmt:
        """A statement without others inside."""
        choice = self.random.random() if leaving else self.random.uniform(0.3, 1)
        if choice < 0.12:
            exception = self.random.choice(RAISED)
            errno = t.num(self.random.randint(1, 40)) if exception is tree.Exc.OS else None
            return t.raise_(exception, errno)
        if choice < 0.17:
            return t.ret(self.signed(1))
        if looping and choice < 0.3:
            return self.random.choice((t.BREAK, t.CONTINUE))
        if choice < 0.45 and not self.in_function:
            self.shown += 1
            return self.case.show(self.shown % 64, self.signed(2))
        return t.put(self.random.choice(self.locals), self.signed(3))

    # ------------------------------------------------------------ programs

    in_function = False

    def function(self, name: str) -> tree.Function:
        """A function that may call those made before it."""
        outer, self.locals = self.locals, [t.local(f"p{k}") for k in range(self.random.randint(1, 3))]
        self.in_function, self.size = True, 40
        params = tuple(self.locals)
        self.locals = [*params, t.local("v")]
        start = t.put(self.locals[-1], t.num(0))
        body = (start, *self.body(2, False), t.ret(self.signed(2)))
        self.locals, self.in_function = outer, False
        return t.function(name, params, I64, *body, raises=EVERYTHING)

    def program(self) -> tree.Unit:
        """The unit."""
        for k in range(self.random.randint(0, 2)):
            self.functions.append(self.function(f"f{k}"))
        self.size = 0
        self.locals = [t.local(f"v{k}") for k in range(4)]
        statements: list[tree.Stmt] = [t.put(v, t.num(k)) for k, v in enumerate(self.locals)]
        for _ in range(4):
            statements += self.body(3, False)
        statements += [self.case.show(60 + k, t.get(v)) for k, v in enumerate(self.locals)]
        return self.case.program.unit(*statements, t.ret(self.signed(2)))
