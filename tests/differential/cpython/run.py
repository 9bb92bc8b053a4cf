"""Run the functions of a module in CPython: the same code objects, with stand-ins for what they import."""

from __future__ import annotations

import types
from collections.abc import Callable
from typing import Any

from tests.differential.cpython import maps
from tests.differential.cpython.contexts import SkBuff, Xdp
from tests.differential.cpython.vocabulary import INTEGERS, Vocabulary

LEFT = (maps.Table, maps.QueueOf, maps.Ring)


class PythonModule:
    """A module of programs whose functions CPython runs, undecorated. Maps and variables keep their contents."""

    def __init__(self, code: types.CodeType, name: str) -> None:
        self._words = Vocabulary()
        self._names: dict[str, Any] = {"__name__": name, "__builtins__": self._words.builtins()}
        exec(code, self._names)
        *targets, self._last = self._words.programs
        for found in self._names.values():
            if isinstance(found, maps.Programs):
                found.slots.update(enumerate(self._as_target(target) for target in targets))

    def _as_target(self, name: str) -> Callable[[Any], int]:
        return lambda context: self._call(name, context)

    def _call(self, name: str, context: SkBuff | Xdp) -> int:
        function, error_verdict = self._words.programs[name]
        try:
            return function(context)
        except maps.Unpredictable:
            raise
        except (
            ArithmeticError,
            LookupError,
            OSError,
            AssertionError,
            ReferenceError,
            MemoryError,
            ValueError,
        ):
            return error_verdict
        except RuntimeError as error:
            if type(error) is not RuntimeError:
                raise
            return error_verdict

    def run(self, context: SkBuff | Xdp) -> int:
        """The verdict of the last program: the low 32 bits, signed."""
        return INTEGERS["i32"](self._call(self._last, context))

    def maps_left(self) -> dict[str, Any]:
        """The contents of all maps by name; queues and ring buffers are emptied."""
        return {name: found.left() for name, found in self._names.items() if isinstance(found, LEFT)}

    def variables_left(self) -> dict[str, bytes]:
        """The bytes of all variables by name."""
        return {name: found.left() for name, found in self._names.items() if isinstance(found, maps.Variable)}
