"""Python's exception classes and the codes that programs know them by."""

from __future__ import annotations

from pyebpf.frontend import tree

_PYTHON_NAMES: dict[tree.Exc, type[Exception]] = {
    tree.Exc.EXCEPTION: Exception,
    tree.Exc.ARITHMETIC: ArithmeticError,
    tree.Exc.ZERO_DIVISION: ZeroDivisionError,
    tree.Exc.LOOKUP: LookupError,
    tree.Exc.INDEX: IndexError,
    tree.Exc.KEY: KeyError,
    tree.Exc.OS: OSError,
    tree.Exc.ASSERTION: AssertionError,
    tree.Exc.REFERENCE: ReferenceError,
    tree.Exc.MEMORY: MemoryError,
    tree.Exc.VALUE: ValueError,
    tree.Exc.RUNTIME: RuntimeError,
    tree.Exc.OVERFLOW: OverflowError,
}


EXCEPTIONS = {cls: exception for exception, cls in _PYTHON_NAMES.items()}


def python_name(exception: tree.Exc) -> str:
    """The name of Python's class."""
    return _PYTHON_NAMES[exception].__name__
