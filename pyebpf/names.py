"""The names of ``pyebpf`` that are made when first asked for: kernel constants, helpers, and what needs the loader.

They are looked up by ``pyebpf.__getattr__``, so that ``import pyebpf`` builds none of them.
"""

from __future__ import annotations

import importlib
import os

from pyebpf.declare import HelperDecl
from pyebpf.lang import InProgramOnly

_ELSEWHERE = {
    "load": "pyebpf.foreign",
    "machine": "pyebpf.session",
    "raw_socket": "pyebpf.foreign",
    "InMachine": "pyebpf.session",
    "MachineWarning": "pyebpf.session",
    "Environment": "pyebpf.runtime.vm.environment",
    "open_pinned": "pyebpf.runtime.pinned",
    "statistics": "pyebpf.runtime.info",
    "trace_print": "pyebpf.runtime.trace",
    "User": "pyebpf.looking",
    "cast": "pyebpf.looking",
    "container_of": "pyebpf.looking",
    "enum_exists": "pyebpf.looking",
    "enum_value": "pyebpf.looking",
    "field_exists": "pyebpf.looking",
    "field_offset": "pyebpf.looking",
    "field_size": "pyebpf.looking",
    "kconfig": "pyebpf.looking",
    "kernel_struct": "pyebpf.looking",
    "kernel_version": "pyebpf.looking",
    "read_kernel": "pyebpf.looking",
    "read_user": "pyebpf.looking",
    "str_from_kernel": "pyebpf.looking",
    "str_from_user": "pyebpf.looking",
    "type_exists": "pyebpf.looking",
    "type_size": "pyebpf.looking",
    "plot_hist": "pyebpf.histograms",
    "print_hist": "pyebpf.histograms",
    "print_linear_hist": "pyebpf.histograms",
    "LostEvents": "pyebpf.runtime.errors",
    "symbolize_kernel": "pyebpf.runtime.symbols",
    "symbolize_user": "pyebpf.runtime.symbols",
    "BpfError": "pyebpf.runtime.errors",
    "PermissionDenied": "pyebpf.runtime.errors",
    "VerifierError": "pyebpf.runtime.errors",
}


class HelperFunction:
    """A kernel helper: ``bpf.ktime_get_ns()`` inside a program; calling it in user space raises ``InProgramOnly``."""

    def __init__(self, name: str) -> None:
        self.__name__ = name
        self.__bpf__ = HelperDecl(name)
        self.__doc__ = f"The kernel helper bpf_{name}, for programs."

    def __call__(self, *args: object) -> object:
        raise InProgramOnly(f"bpf.{self.__name__} is a kernel helper: it works inside programs only")

    def __repr__(self) -> str:
        return f"<helper bpf.{self.__name__}>"


def find(name: str) -> object:
    """The value of ``pyebpf.NAME``. Raises AttributeError, with near misses, where there is none."""
    if name in _ELSEWHERE:
        return getattr(importlib.import_module(_ELSEWHERE[name]), name)
    if name.startswith("__") or _is_module(name):
        raise AttributeError(name)
    from pyebpf.uapi import constants, programs

    if name.isupper():
        for module in (constants, programs):
            value = getattr(module, name, None)
            if isinstance(value, int):
                return value
    from pyebpf.uapi import helpers

    if helpers.helper_by_name(name) is not None:
        return HelperFunction(name)
    import difflib

    import pyebpf

    known = [
        *vars(pyebpf),
        *_ELSEWHERE,
        *helpers.helper_names(),
        *(n for n in vars(constants) if n.isupper()),
    ]
    near = difflib.get_close_matches(name, known, n=3)
    hint = f" (did you mean {' or '.join(near)}?)" if near else ""
    raise AttributeError(f"module 'pyebpf' has no attribute {name!r}{hint}", name=name, obj=pyebpf)


def _is_module(name: str) -> bool:
    """Whether a module of ours has the name: ``from pyebpf import btf`` asks for an attribute first."""
    path = os.path.join(os.path.dirname(__file__), name)
    return os.path.exists(path) or os.path.exists(f"{path}.py")


def all_names() -> list[str]:
    """Every name that ``find`` knows, for completion and for near misses."""
    from pyebpf.uapi import constants, helpers, programs

    numbers = [
        n for m in (constants, programs) for n, v in vars(m).items() if n.isupper() and isinstance(v, int)
    ]
    return [*_ELSEWHERE, *helpers.helper_names(), *numbers]
