"""``enum`` as the standard library has it, for packages with hundreds of members: cheap to import and to make.

``enum`` takes several microseconds for each member and a millisecond for itself: with our tables of the kernel's numbers
that was a tenth of the time in which a tool starts from the cache. Here are classes of named constants, aliases, ``auto``,
methods, and flags of single bits; they behave as the standard library's (``tests/unit/enums`` compares the two), but are no
instances of its classes. Members that are made or found in ways of their own (``__new__``, ``__init__``, ``_missing_``,
``_generate_next_value_``) and other mixed-in types than ``int`` are a TypeError when the class is made. That a name is used
twice is left to ruff (PIE794) and mypy. Type checkers and editors see the standard library's.
"""

from __future__ import annotations

import operator
import sys

from pyebpf.hints import TYPE_CHECKING

if TYPE_CHECKING:
    from enum import Enum as Enum
    from enum import EnumMeta as EnumMeta
    from enum import Flag as Flag
    from enum import IntEnum as IntEnum
    from enum import IntFlag as IntFlag
    from enum import auto as auto
    from typing import TypeGuard
else:
    from types import MappingProxyType

    _OWN_WAYS = {"__new__", "__init__", "_missing_", "_generate_next_value_"}
    _KINDS = []

    class auto:
        """A value that the class chooses: the next number, or the next bit."""

    class EnumMeta(type):
        """The type of enumerations: their classes can be iterated, called with a value and asked for a name."""

        def __new__(meta, name, bases, body):
            for base in bases:
                if isinstance(base, EnumMeta) and base._by_name:
                    raise TypeError(f"{name} cannot extend {base.__name__}, which has members")
            stated = {
                key: value
                for key, value in body.items()
                if not (key[:2] == key[-2:] == "__") and not hasattr(type(value), "__get__")
            }
            cls = type.__new__(meta, name, bases, {k: v for k, v in body.items() if k not in stated})
            type.__setattr__(cls, "_by_name", {})
            type.__setattr__(cls, "_by_value", {})
            if body.get("__module__") == __name__:
                _KINDS.append(cls)
            else:
                cls._check(bases)
            if stated:
                cls._add(stated)
            return cls

        def _check(cls, bases):
            if int in bases:
                raise TypeError(f"{cls.__name__}: use IntEnum or IntFlag")
            for one in cls.__mro__:
                if one in _KINDS:
                    break
                if not _OWN_WAYS.isdisjoint(one.__dict__):
                    raise TypeError(f"{cls.__name__}: members are made from their values alone")

        def _add(cls, stated):
            by_name, by_value, put = cls._by_name, cls._by_value, type.__setattr__
            number = issubclass(cls, int)
            for key, value in stated.items():
                if key[0] == "_":
                    raise TypeError(f"{cls.__name__}.{key}: members have no leading underscore")
                if isinstance(value, auto):
                    value = cls._next(by_value)
                elif number:
                    value = operator.index(value)
                member = by_value.get(value)
                if member is None:
                    member = by_value[value] = int.__new__(cls, value) if number else object.__new__(cls)
                    member.__dict__.update(name=key, value=value)
                by_name[key] = member
                put(cls, key, member)

        def _next(cls, used):
            return max(used, default=0) + 1

        def __call__(cls, value):
            try:
                return cls._by_value[value]
            except (KeyError, TypeError):  # the latter for what has no hash
                return value if isinstance(value, cls) else cls._combined(value)

        def _combined(cls, value):
            raise ValueError(f"{value!r} is not a valid {cls.__qualname__}")

        def __getitem__(cls, name):
            return cls._by_name[name]

        def __iter__(cls):
            return (member for name, member in cls._by_name.items() if member.name == name)

        def __reversed__(cls):
            return reversed([*cls])

        def __len__(cls):
            return sum(1 for _ in cls)  # list() would ask for the length

        def __bool__(cls):
            return True

        def __contains__(cls, value):
            return isinstance(value, cls) or any(value == known for known in cls._by_value)

        @property
        def __members__(cls):
            return MappingProxyType(cls._by_name)

        def __setattr__(cls, name, value):
            if name in cls._by_name:
                raise AttributeError(f"cannot reassign member {name!r}")
            type.__setattr__(cls, name, value)

        def __delattr__(cls, name):
            if name in cls._by_name:
                raise AttributeError(f"{cls.__name__!r} cannot delete member {name!r}.")
            type.__delattr__(cls, name)

        def __repr__(cls):
            kind = "flag" if isinstance(cls, _FlagMeta) else "enum"
            return f"<{kind} {cls.__name__!r}>"

    class Enum(metaclass=EnumMeta):
        """A class whose attributes are its only objects, each with a ``name`` and a ``value``."""

        def __repr__(self):
            return f"<{type(self).__name__}.{self.name}: {self.value!r}>"

        def __str__(self):
            return f"{type(self).__name__}.{self.name}"

        def __format__(self, spec):
            return format(str(self), spec)

        def __setattr__(self, name, value):
            if name in ("name", "value"):
                raise AttributeError(f"<enum {type(self).__name__!r}> cannot set attribute {name!r}")
            object.__setattr__(self, name, value)

        def __copy__(self):
            return self

        def __deepcopy__(self, known):
            return self

        def __reduce_ex__(self, protocol):
            return type(self), (self.value,)

    class IntEnum(int, Enum):
        """Members that are integers."""

        __repr__ = Enum.__repr__
        __str__ = int.__repr__
        __format__ = int.__format__

    class _FlagMeta(EnumMeta):
        """Adds what several bits together are; such a member is made when it is asked for."""

        _mask = 0

        def _add(cls, stated):
            super()._add(stated)
            mask = 0
            for value in cls._by_value:
                if value & (value - 1):
                    raise TypeError(f"{cls.__name__}({value}) has several bits")
                mask |= value
            type.__setattr__(cls, "_mask", mask)

        def _next(cls, used):
            return 1 << max(used, default=0).bit_length()

        def _combined(cls, value):
            if not isinstance(value, int):
                return super()._combined(value)
            keeps = issubclass(cls, int)  # bits that have no name
            every = (1 << cls._mask.bit_length()) - 1
            if value < 0 and (keeps or value >= ~every):
                value += every + 1 if value >= ~every else max(every + 1, 1 << value.bit_length())
                if value in cls._by_value:
                    return cls._by_value[value]
            if not keeps and (value < 0 or value & ~cls._mask):
                return super()._combined(value)
            names = [one.name for one in cls._singles(value)]
            if names and value & ~cls._mask:
                names.append(str(value & ~cls._mask))
            member = int.__new__(cls, value) if keeps else object.__new__(cls)
            member.__dict__.update(name="|".join(names) or None, value=value)
            return cls._by_value.setdefault(value, member)

        def _singles(cls, value):
            return sorted((one for one in cls if one.value & value), key=operator.attrgetter("value"))

        def __iter__(cls):
            return (one for one in super().__iter__() if one.value)

    class Flag(Enum, metaclass=_FlagMeta):
        """Members that are bits, which can be combined."""

        def __repr__(self):
            named = "" if self.name is None else f".{self.name}"
            return f"<{type(self).__name__}{named}: {self.value!r}>"

        def __str__(self):
            return f"{type(self).__name__}({self.value!r})" if self.name is None else super().__str__()

        def __contains__(self, other):
            if not isinstance(other, type(self)):
                raise TypeError(
                    f"unsupported operand type(s) for 'in': {type(other).__qualname__!r} and {type(self).__qualname__!r}"
                )
            return other.value & self.value == other.value

        def __iter__(self):
            return iter(type(self)._singles(self.value))

        def __len__(self):
            return self.value.bit_count()

        def __bool__(self):
            return bool(self.value)

        def __or__(self, other):
            return self._with(other, operator.or_)

        def __and__(self, other):
            return self._with(other, operator.and_)

        def __xor__(self, other):
            return self._with(other, operator.xor)

        def _with(self, other, operation):
            if not isinstance(other, type(self)):
                return NotImplemented
            return type(self)(operation(self.value, other.value))

        __ror__, __rand__, __rxor__ = __or__, __and__, __xor__

        def __invert__(self):
            return type(self)(type(self)._mask & ~self.value)

    class IntFlag(int, Flag):
        """Members that are bits and integers."""

        __repr__ = Flag.__repr__
        __str__ = int.__repr__
        __format__ = int.__format__
        __contains__ = Flag.__contains__
        __or__, __and__, __xor__ = Flag.__or__, Flag.__and__, Flag.__xor__
        __ror__, __rand__, __rxor__ = __or__, __and__, __xor__

        def _with(self, other, operation):
            if not isinstance(other, int):
                return NotImplemented
            return type(self)(operation(int(self), int(other)))

        def __invert__(self):
            return type(self)(~self.value)


def is_member(value: object) -> TypeGuard[Enum]:
    """Whether ``value`` is a member of an enumeration, of this module or of the standard library."""
    return is_enumeration(type(value))


def is_enumeration(value: object) -> TypeGuard[EnumMeta]:
    """Whether ``value`` is the class of an enumeration, of this module or of the standard library."""
    standard = sys.modules.get("enum")  # it has been imported where anybody has made one
    return isinstance(value, EnumMeta) or (standard is not None and isinstance(value, standard.EnumMeta))
