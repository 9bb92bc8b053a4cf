"""Mutations of what is declared: annotations, fields of structs, maps, parameters, and the type of the program."""

from __future__ import annotations

import ast
import random
from collections.abc import Iterator

from tests.mutants.changes import KINDS
from tests.mutants.corpus import DECORATORS, decorator_name, is_program
from tests.mutants.edits import Edit, expression, functions, mutation, put, statements

MAPS = ("ArrayMap", "HashMap", "LruHashMap", "PerCpuArray", "PerCpuHash", "LpmTrie")
PROGRAMS = ("xdp", "tc", "socket_filter", "tc_egress", "sk_skb_verdict")
assert set(PROGRAMS) <= DECORATORS


@mutation
def other_annotation(module: ast.Module, rng: random.Random) -> Iterator[Edit]:
    """A variable, a parameter or a result is said to be of another type."""
    texts = (*KINDS, "bool", "bytes", "float", "str", "bpf.Xdp", "bpf.SkBuff")
    for _, statement in statements(module):
        if isinstance(statement, ast.AnnAssign):
            yield put(statement, "annotation", None, expression(rng.choice(texts)))
    for function in functions(module):
        for parameter in function.args.args:
            yield put(parameter, "annotation", None, expression(rng.choice(texts)))
        if function.returns is not None:
            yield put(function, "returns", None, expression(rng.choice((*texts, "None"))))


@mutation
def without_annotation(module: ast.Module, rng: random.Random) -> Iterator[Edit]:
    """A parameter or a result says nothing of its type."""
    for function in functions(module):
        for parameter in function.args.args:
            yield put(parameter, "annotation", None, None)
        yield put(function, "returns", None, None)


@mutation
def other_field(module: ast.Module, rng: random.Random) -> Iterator[Edit]:
    """A field of a struct has another type, another name, or is gone."""
    for struct in module.body:
        if not isinstance(struct, ast.ClassDef):
            continue
        for field in struct.body:
            if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name):
                if field.value is None:
                    yield put(field, "annotation", None, expression(rng.choice(KINDS)))
                else:
                    yield put(
                        field, "value", None, expression(rng.choice(("bpf.array(u8, 2)", "bpf.chars(3)")))
                    )
                yield put(field.target, "id", None, field.target.id + "2")
                if len(struct.body) > 1:
                    yield put(struct, "body", None, [other for other in struct.body if other is not field])


@mutation
def other_layout(module: ast.Module, rng: random.Random) -> Iterator[Edit]:
    """A struct is packed, or a union, or neither."""
    for struct in module.body:
        if isinstance(struct, ast.ClassDef) and struct.decorator_list:
            kind = rng.choice(("bpf.struct", "bpf.struct(packed=True)", "bpf.union"))
            yield put(struct, "decorator_list", 0, expression(kind))


def _declared_maps(module: ast.Module) -> Iterator[tuple[ast.Call, ast.Subscript]]:
    """``bpf.HashMap[u32, u64](…)`` and its like, with the subscript."""
    for node in ast.walk(module):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Subscript):
            yield node, node.func


@mutation
def other_map(module: ast.Module, rng: random.Random) -> Iterator[Edit]:
    """A map is of another type."""
    for _, typed in _declared_maps(module):
        if isinstance(typed.value, ast.Attribute) and typed.value.attr in MAPS:
            yield put(typed.value, "attr", None, rng.choice(MAPS))


@mutation
def other_contents(module: ast.Module, rng: random.Random) -> Iterator[Edit]:
    """Keys or values of a map, or a variable, are of another type."""
    structs = [s.name for s in module.body if isinstance(s, ast.ClassDef)]
    for _, typed in _declared_maps(module):
        if isinstance(typed.slice, ast.Tuple):
            for at in (0, 1):
                new = rng.choice((*KINDS[:8], *structs))
                yield put(typed.slice, "elts", at, ast.Name(new, ast.Load()))
        else:
            yield put(typed, "slice", None, ast.Name(rng.choice(KINDS[:8]), ast.Load()))


@mutation
def other_room(module: ast.Module, rng: random.Random) -> Iterator[Edit]:
    """A map has room for more or fewer entries, or another default."""
    for made, _ in _declared_maps(module):
        for keyword in made.keywords:
            yield put(keyword, "value", None, ast.Constant(rng.choice((0, 1, 2, 3, 7, 1000))))


def _program_decorators(module: ast.Module) -> Iterator[tuple[ast.FunctionDef, int, ast.expr]]:
    for function in module.body:
        if isinstance(function, ast.FunctionDef) and is_program(function):
            for at, decorator in enumerate(function.decorator_list):
                if decorator_name(decorator) in DECORATORS:
                    yield function, at, decorator


@mutation
def other_program_type(module: ast.Module, rng: random.Random) -> Iterator[Edit]:
    """The program is for another hook; its context is annotated as before, as it should be, or not at all."""
    for function, _, decorator in _program_decorators(module):
        called = decorator.func if isinstance(decorator, ast.Call) else decorator
        assert isinstance(called, ast.Attribute)
        name = rng.choice([one for one in PROGRAMS if one != called.attr])
        right = "bpf.Xdp" if name == "xdp" else "bpf.SkBuff"
        for annotation in (None, right, "as before"):
            yield _of_other_type(function, called, name, annotation)


def _of_other_type(
    function: ast.FunctionDef, called: ast.Attribute, name: str, annotation: str | None
) -> Edit:
    def apply() -> None:
        called.attr = name
        if function.args.args and annotation != "as before":
            function.args.args[0].annotation = None if annotation is None else expression(annotation)

    return apply


@mutation
def other_style(module: ast.Module, rng: random.Random) -> Iterator[Edit]:
    """A function is inlined, is not, or is verified on its own."""
    for function in module.body:
        if isinstance(function, ast.FunctionDef) and not is_program(function):
            kind = rng.choice(("bpf.inline", "bpf.noinline", "bpf.global_function"))
            yield put(function, "decorator_list", None, [expression(kind)])


@mutation
def without_licence(module: ast.Module, rng: random.Random) -> Iterator[Edit]:
    """The module states another licence, or none."""
    for at, statement in enumerate(module.body):
        if isinstance(statement, ast.Expr) and decorator_name(statement.value) == "license":
            text = rng.choice(("pass", 'bpf.license("Apache-2.0")'))
            yield put(module, "body", at, ast.parse(text).body[0])
