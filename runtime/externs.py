"""What the externs of an object stand for in the running kernel: functions, variables, configuration values.

Functions and typed variables are found by name in the types of the kernel, else in those of its modules; variables
without type in its table of symbols. What is weak and not there has address 0, and calls of it never pass the verifier.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from pyebpf.hints import TYPE_CHECKING
from pyebpf.records import dataclass, field
from pyebpf.runtime.errors import ObjectError
from pyebpf.runtime.references import KernelFunction, KernelSymbol

if TYPE_CHECKING:
    from typing import Final

    from pyebpf import btf
    from pyebpf.object import Extern
    from pyebpf.runtime.fd import Fd

_MOST_MODULES: Final = 0x7FFF


@dataclass(frozen=True, slots=True)
class Found:
    """Type ``id`` of ``spec``, which is that of ``module`` (empty: of the kernel itself)."""

    spec: btf.Spec
    id: int
    module: str = ""

    @property
    def type(self) -> btf.Type | None:
        """The type."""
        return self.spec.type(self.id)


def find_in_kernel(name: str, kind: btf.Kind) -> Found | None:
    """The first type called ``name`` of the kernel, or else of a loaded module."""
    from pyebpf.runtime.kernel_btf import vmlinux

    own = vmlinux().ids(name, kind)
    if own:
        return Found(vmlinux(), own[0])
    for module, spec in _modules():
        own = [number for number in spec.ids(name, kind) if number >= spec.first]
        if own:
            return Found(spec, own[0], module)
    return None


def _modules() -> Iterator[tuple[str, btf.Spec]]:
    from pyebpf.runtime.kernel_modules import modules

    return modules()


@dataclass(slots=True)
class Externs:
    """Looks up the externs of one object. ``keep``: takes over descriptors of modules' types, which stay open for as long
    as programs are being loaded.

    ``modules``: those that are called, by their place in the table that programs are loaded with; place 0 is the kernel.
    """

    externs: dict[str, Extern]
    keep: Callable[[Fd], Fd]
    modules: list[str] = field(default_factory=list)
    _fds: dict[str, Fd] = field(default_factory=dict)

    def function(self, symbol: str) -> KernelFunction | None:
        """The kernel function that is called as ``symbol``; ``None`` for a weak one that is not there, or is another.

        Raises ``ObjectError`` if it is not there, or has another prototype.
        """
        extern = self.extern(symbol)
        found = self._function(extern)
        if found is None:
            return None
        if not found.module:
            return KernelFunction(found.id)
        if found.module not in self.modules:
            if len(self.modules) >= _MOST_MODULES:
                raise ObjectError("the object calls functions of too many modules")
            self.modules.append(found.module)
        self._fd(found.module)
        return KernelFunction(found.id, self.modules.index(found.module) + 1)

    def address(self, symbol: str) -> KernelSymbol | int:
        """The variable or function ``symbol`` of the kernel, or its address; 0 for a weak one that is not there.

        Raises ``ObjectError``.
        """
        from pyebpf import btf

        extern = self.extern(symbol)
        if isinstance(extern.type, btf.Func):
            found = self._function(extern)
        elif btf.skip_modifiers(extern.type) is None:
            return self._untyped(extern)
        else:
            found = self._variable(extern)
        if found is None:
            return 0
        return KernelSymbol(found.id, self._fd(found.module).fileno() if found.module else 0)

    def table(self) -> list[int]:
        """The descriptors of the modules that are called, at their places; empty if there are none."""
        return [0, *(self._fds[name].fileno() for name in self.modules)] if self.modules else []

    def extern(self, symbol: str) -> Extern:
        """The declaration of ``symbol``. Raises ``ObjectError`` if there is none."""
        extern = self.externs.get(symbol)
        if extern is None:
            raise ObjectError(f"code refers to {symbol!r}, which the object does not declare as external")
        return extern

    def _function(self, extern: Extern) -> Found | None:
        from pyebpf import btf
        from pyebpf.runtime.core_compat import types_compatible

        found = find_in_kernel(btf.essential_name(extern.name), btf.Kind.FUNC)
        if found is None:
            if extern.weak:
                return None
            raise ObjectError(f"this kernel has no function {extern.name!r} that programs could call")
        declared, actual = getattr(extern.type, "proto", None), getattr(found.type, "proto", None)
        if declared is not None and not types_compatible(declared, actual):
            if extern.weak:
                return None
            raise ObjectError(
                f"kernel function {extern.name!r}: the object declares {btf.describe(declared)}, "
                f"this kernel has {btf.describe(actual)}"
            )
        return found

    def _variable(self, extern: Extern) -> Found | None:
        from pyebpf import btf
        from pyebpf.runtime.core_compat import types_compatible

        found = find_in_kernel(extern.name, btf.Kind.VAR)
        if found is None:
            if extern.weak:
                return None
            raise ObjectError(
                f"this kernel has no variable {extern.name!r} in its type information; declared as `const void` it is "
                "looked for among the kernel's symbols"
            )
        actual = found.type.type if isinstance(found.type, btf.Var) else None
        if not types_compatible(extern.type, actual):
            raise ObjectError(
                f"kernel variable {extern.name!r}: the object declares {btf.describe(extern.type)}, "
                f"this kernel has {btf.describe(actual)}"
            )
        return found

    def _untyped(self, extern: Extern) -> int:
        from pyebpf.runtime.kallsyms import symbol_address

        address = symbol_address(extern.name)
        if address is None and not extern.weak:
            raise ObjectError(f"this kernel has no symbol {extern.name!r}")
        return address or 0

    def _fd(self, module: str) -> Fd:
        from pyebpf.runtime.kernel_modules import module_btf

        if module not in self._fds:
            self._fds[module] = self.keep(module_btf(module))
        return self._fds[module]
