"""What loading takes: an object with the declarations that it was made of, compiled just now or found in the cache."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from pyebpf.declare import GlobalDecl, MapDecl
from pyebpf.hints import TYPE_CHECKING
from pyebpf.object import ObjectSpec, Prepared, map_spec

if TYPE_CHECKING:
    from pyebpf.driver import Compiled


class Ready:
    """An object, and the declarations of its maps and variables, which are named and placed as in it.

    ``prepared``: what the kernel's loader has no work with any more, where that is known. ``shared``: the same for
    the object of each map alone, by name, since maps are made one by one, for all programs that share them.
    """

    def __init__(
        self,
        spec: ObjectSpec | Callable[[], ObjectSpec],
        maps: list[MapDecl],
        variables: list[GlobalDecl],
        prepared: Prepared | None = None,
        shared: Mapping[str, Prepared] | None = None,
    ) -> None:
        self._spec = spec
        self.maps = maps
        self.globals = variables
        self.prepared = prepared
        self.shared = shared or {}

    @classmethod
    def of(cls, compiled: Compiled) -> Ready:
        """What a compilation made."""
        return cls(compiled.object, list(compiled.unit.maps), list(compiled.unit.globals))

    @property
    def object(self) -> ObjectSpec:
        """The whole object. An entry of the cache is read only here: the kernel needs it prepared."""
        if not isinstance(self._spec, ObjectSpec):
            self._spec = self._spec()
        return self._spec

    def prepare(self) -> None:
        """Do what can be done ahead, for this load and for later ones. Raises ``ObjectError``."""
        from pyebpf.runtime.prepare import prepare

        self.prepared = prepare(self.object)
        self.shared = {str(decl.name): prepare(map_object(decl)) for decl in self.maps}

    @classmethod
    def map(cls, decl: MapDecl, of: Ready | None) -> Ready:
        """A map alone, prepared where ``of``, which it belongs to, knows how."""
        prepared = None if of is None else of.shared.get(str(decl.name))
        return cls(lambda: map_object(decl), [decl], [], prepared)


def map_object(decl: MapDecl) -> ObjectSpec:
    """The object that is a declared map alone. A map without a name is called ``map``."""
    from pyebpf import btf

    named = decl.name is not None
    if not named:
        decl.name = "map"
    try:
        spec = map_spec(decl)
    finally:
        if not named:
            decl.name = None
    spec.key_type = btf.from_layout(decl.key) if decl.key is not None else None
    spec.value_type = btf.from_layout(decl.value) if decl.value is not None else None
    return ObjectSpec(maps={spec.name: spec})
