"""``typing`` for type checkers; for Python as much of it as modules need in order to run.

``typing`` and ``re``, which it imports, take a tenth of the time in which a tool starts from the cache, and with
annotations that stay text nearly nothing of it has an effect. So the package's modules have the names that run from here,
and those for annotations alone (``Final``) from ``typing`` where only type checkers look; these see the standard library's
in both cases. ``ClassVar`` is here for ``typing.get_type_hints`` of our classes. Classes that users make of ours with the
standard library's type variables work.
"""

from __future__ import annotations

import sys

TYPE_CHECKING = False

if TYPE_CHECKING:
    from typing import Any as Any
    from typing import ClassVar as ClassVar
    from typing import Generic as Generic
    from typing import Protocol as Protocol
    from typing import TypeVar as TypeVar
    from typing import assert_never as assert_never
    from typing import cast as cast
    from typing import dataclass_transform as dataclass_transform
    from typing import final as final
    from typing import overload as overload
else:
    from types import GenericAlias

    class _Form:
        """A name for annotations. Where one is evaluated after all (``typing.get_type_hints``), ``|`` goes to the standard
        library's."""

        __slots__ = ("__name__",)

        def __init__(self, name):
            self.__name__ = name

        def standard(self):
            import typing

            return getattr(typing, self.__name__)

        def __getitem__(self, parameters):
            return GenericAlias(self, parameters)

        def __or__(self, other):
            return self.standard() | (other.standard() if isinstance(other, _Form) else other)

        def __ror__(self, other):
            return other | self.standard()

        def __repr__(self):
            return f"typing.{self.__name__}"

    Any = _Form("Any")
    ClassVar = _Form("ClassVar")

    class Generic:
        """A base of classes with type parameters."""

        __slots__ = ()
        __class_getitem__ = classmethod(GenericAlias)

        def __init_subclass__(cls, **options):
            super().__init_subclass__(**options)
            standard = getattr(sys.modules.get("typing"), "Generic", None)
            if standard in cls.__mro__ and "__class_getitem__" not in cls.__dict__:
                # Wherever a user's class names it among its bases, brackets mean what they mean for our class.
                ours = next(k for k in cls.__mro__ if "__class_getitem__" in k.__dict__ and k is not standard)
                cls.__class_getitem__ = ours.__dict__["__class_getitem__"]

    class Protocol(Generic):
        """A base of classes that say what objects are expected to have."""

        __slots__ = ()

    class TypeVar(_Form):
        """A parameter of a class or function."""

        __slots__ = ()

        def __init__(self, name, *constraints, **options):
            super().__init__(name)

        def standard(self):
            import typing

            return typing.TypeVar(self.__name__)

        def __repr__(self):
            return f"~{self.__name__}"

    def assert_never(value):
        """Raises ``AssertionError``: type checkers have proved that no value gets here."""
        raise AssertionError(f"expected code to be unreachable, but got: {value!r}")

    def cast(kind, value):
        """``value``."""
        return value

    def dataclass_transform(**options):
        """The function or class is as it was."""
        return _unchanged

    def _unchanged(decorated):
        return decorated

    final = _unchanged

    def overload(function):
        """Nobody calls it: the function of the same name behind it takes its place."""
        return function


def is_type_variable(value: object) -> bool:
    """Whether ``value`` is a type variable: of this module, of the standard library, or of Python 3.12's syntax, which needs
    no import."""
    kind = type(value)
    return kind is TypeVar or (kind.__module__ == "typing" and kind.__name__ == "TypeVar")
