"""Functions of every style, callbacks, tail calls."""

from __future__ import annotations

from tests.differential.generator.control import return_text
from tests.differential.generator.core import (
    EFFORT,
    LOCAL_TYPES,
    Callable_,
    Expression,
    Generator,
    Scope,
    expression,
    kind_of,
    statement,
)


def _argument(g: Generator, of: str, scope: Scope, depth: int) -> str | None:
    if of in LOCAL_TYPES:
        return g.value(of, scope, depth)
    found = [n for n, s in scope.structs.items() if s == of]
    return g.rng.choice(found) if found else None


def call_text(g: Generator, function: Callable_, scope: Scope, depth: int) -> str | None:
    """A call by position, or by keyword, or leaving defaults away."""
    if (function.raises and not scope.raises) or function.effort * scope.times > g.effort:
        return None
    if not g.take(function.room):
        return None
    parts: list[str] = []
    by_name = g.chance(40)
    given = len(function.params) - g.rng.randint(0, function.defaults)
    for position, (name, of) in enumerate(function.params[:given]):
        text = _argument(g, of, scope, depth)
        if text is None:
            return None
        if by_name and position:
            g.note("keyword argument")
            parts.append(f"{name}={text}")
        else:
            parts.append(text)
    if given < len(function.params):
        g.note("default argument")
    g.note("call")
    g.effort -= function.effort * scope.times
    return f"{function.name}({', '.join(parts)})"


def _call(kind: str) -> Expression:
    def production(g: Generator, scope: Scope, depth: int) -> str | None:
        fitting = [f for f in g.functions if f.result in LOCAL_TYPES and kind_of(f.result) == kind]
        return call_text(g, g.rng.choice(fitting), scope, min(depth, 1)) if fitting else None

    return production


for _kind in "inu":
    expression(_kind, weight=3)(_call(_kind))


@statement(weight=2)
def call_for_struct(g: Generator, indent: int, scope: Scope) -> bool:
    """A function that returns a struct, or one that changes the struct it is given."""
    fitting = [f for f in g.functions if f.result not in LOCAL_TYPES]
    if not fitting or len(scope.structs) > 4:
        return False
    function = g.rng.choice(fitting)
    text = call_text(g, function, scope, 1)
    if text is None:
        return False
    if function.result == "None":
        g.emit(indent, text)
        return True
    g.note("function that returns a struct")
    name = g.fresh("r")
    g.emit(indent, f"{name} = {text}")
    scope.structs[name] = function.result
    return True


def make_function(g: Generator) -> None:
    """A function that programs call."""
    g.effort = EFFORT // 3
    room = g.room
    style = g.pick(
        "", "@bpf.function", "@bpf.noinline", "@bpf.noinline", "@bpf.inline", "@bpf.global_function"
    )
    name = g.fresh("f")
    is_global = style == "@bpf.global_function"
    types = [g.pick(*LOCAL_TYPES) for _ in range(g.rng.randint(1, 4))]
    if not is_global and g.chance(30):
        g.note("function that takes a struct")
        types[0] = g.pick("Inner", "Record")
    result = g.pick("u32", "i64", "i32", "u16", "u64")
    if not is_global and g.chance(25):
        result = g.pick("Inner", "None")
    params = tuple((g.fresh("p"), of) for of in types)
    defaults = g.rng.randint(0, 1) if params[-1][1] in LOCAL_TYPES and not is_global else 0
    raises = not is_global and g.chance(60)
    g.note(f"function {style or 'plain'}")
    g.lines += ["", ""]
    if style:
        g.emit(0, style)
    shown = [f"{p}: {of}" for p, of in params]
    if defaults:
        shown[-1] += f" = {g.rng.randrange(100)}"
    g.emit(0, f"def {name}({', '.join(shown)}) -> {result}:")
    scope = Scope(
        ints={p: of for p, of in params if of in LOCAL_TYPES},
        structs={p: of for p, of in params if of not in LOCAL_TYPES},
        shared={p for p, of in params if of not in LOCAL_TYPES},
        packet=False,
        raises=raises,
        budget=4,
        result="" if result == "None" else result,
        plain=False,
    )
    g.block(1, scope, g.rng.randint(1, 4))
    if result != "None":
        g.emit(1, return_text(g, scope))
    g.functions.append(
        Callable_(name, params, result, defaults, raises, EFFORT // 3 - g.effort, room - g.room)
    )


# ---------------------------------------------------------------- callbacks


@statement(weight=2)
def callback(g: Generator, indent: int, scope: Scope) -> bool:
    """``bpf.loop`` with a local function that shares variables."""
    names = scope.assignable("u64", "i64", "u32", "i32")
    if not names or indent > 2 or scope.budget < 4 or scope.in_loop:
        return False
    g.note("callback")
    name = g.fresh("body")
    shared = g.rng.sample(names, min(len(names), g.rng.randint(1, 2)))
    raises = scope.raises and g.chance(40)
    g.emit(indent, f"def {name}(i: u32) -> bool:")
    g.emit(indent + 1, f"nonlocal {', '.join(shared)}")
    inner = Scope(
        {"i": "u32", **{n: scope.ints[n] for n in shared}},
        fixed={"i"},
        packet=False,
        raises=raises,
        budget=0,
        times=3 * scope.times,  # it is verified until nothing changes
        result="",
        plain=False,
    )
    readable = [n for n in scope.ints if n not in shared]
    if readable and g.chance(50):
        g.note("callback that reads a variable")
        other = g.rng.choice(readable)
        inner.ints[other] = scope.ints[other]
        inner.fixed.add(other)
    g.block(indent + 1, inner, g.rng.randint(1, 2))
    for target in shared:
        g.emit(indent + 1, f"{target} = {g.value(scope.ints[target], inner, 2)}")
    if raises:
        g.note("callback that may raise")
    stop = g.condition(inner, 1).replace(":=", "<")
    g.emit(indent + 1, f"return bool({stop})" if g.chance(50) else "return False")
    made = g.fresh("v")
    count = g.pick("0", "1", "7", "20", f"{g.expr('n', scope, 1)} & 15", f"{g.expr('i', scope, 1)} % 9 - 2")
    g.emit(indent, f"{made}: u32 = bpf.loop({count}, {name})")
    scope.ints[made] = "u32"
    return True


@statement()
def callback_with_state(g: Generator, indent: int, scope: Scope) -> bool:
    """``bpf.loop`` with a function of the module and a struct that it changes."""
    found = [n for n, s in scope.structs.items() if s == "Inner" and n.startswith("r_")]
    if not found or scope.budget < 4:
        return False
    g.note("callback with state")
    count = g.pick("3", "12", f"{g.expr('n', scope, 1)} & 7")
    g.emit(indent, f"bpf.loop({count}, {g.pick('accumulate', 'stop_early')}, {g.rng.choice(found)})")
    return True


@statement(weight=2)
def each_element(g: Generator, indent: int, scope: Scope) -> bool:
    """``bpf.for_each_map_elem``: a hash map has no order that a program could rely on, so only arrays are searched."""
    found = [n for n, s in scope.structs.items() if s == "Inner" and n.startswith("r_")]
    if scope.budget < 4 or scope.in_loop:
        return False
    hashed, arrays = g.pick("words", "counts", "recent", "slots"), g.pick("table", "small", "local")
    walks = [("records", "touch", "None")]
    if found:
        state = g.rng.choice(found)
        walks += [(hashed, "gather", state), (arrays, "gather", state), (arrays, "search", state)]
    g.note("for each element of a map")
    made = g.fresh("v")
    walked, body, state = g.rng.choice(walks)
    flags = "0" if g.chance(85) else "1"
    g.emit(indent, f"{made}: i64 = bpf.for_each_map_elem({walked}, {body}, {state}, {flags})")
    scope.ints[made] = "i64"
    return True


# ---------------------------------------------------------------- tail calls


@statement(weight=4)
def tail_call(g: Generator, indent: int, scope: Scope) -> bool:
    """To another program, or to an empty slot, which raises."""
    if not (g.targets and scope.packet and scope.plain and scope.raises and scope.result == "i32"):
        return False
    g.note("tail call")
    g.emit(indent, f"if {g.condition(scope, 1)} and {g.opaque('n')} < 6:")
    g.emit(indent + 1, f"return progs[{g.pick('0', g.opaque('n'), g.opaque('n') + ' & 1')}](ctx)")
    return True
