"""What Python runs of a function, as text: to compare it with the text of its file, and for the key of the cache."""

from __future__ import annotations
import __future__

import types

_SHAPE = 0xFF
"""The bits of ``co_flags`` that tell what kind of function it is, not what its file imported from ``__future__``."""
AS_STRINGS = __future__.annotations.compiler_flag


def trace(code: types.CodeType) -> str:
    """A code object as text: instructions, constants, names and inner functions, but neither lines nor the file."""
    counts = (code.co_argcount, code.co_posonlyargcount, code.co_kwonlyargcount, code.co_flags & _SHAPE)
    names = (code.co_names, code.co_varnames, code.co_freevars, code.co_cellvars)
    constants = [_constant(one) for one in code.co_consts]
    return f"{code.co_name} {counts} {names} {code.co_code.hex()} {code.co_exceptiontable.hex()} {constants}"


def _constant(value: object) -> str:
    match value:
        case types.CodeType():
            return trace(value)
        case frozenset():
            return (
                f"frozenset {sorted(_constant(one) for one in value)}"  # its order is another in each process
            )
        case tuple():
            return f"tuple {[_constant(one) for one in value]}"
        case _:
            return repr(value)


def annotation_strings(function: types.FunctionType) -> tuple[str, ...]:
    """The annotations of parameters and result that Python keeps as strings."""
    if not function.__code__.co_flags & AS_STRINGS:
        return ()
    return tuple(str(one) for one in function.__annotations__.values())
