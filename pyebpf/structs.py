"""Values of structs in user space: what ``@bpf.struct`` makes of a class."""

from __future__ import annotations

import functools
import types

from pyebpf.hints import Any
from pyebpf.layout import ArrayType, BytesType, IntType, Layout, StructType


def zero(of: Layout) -> Any:
    """The value of memory that is zeroed."""
    match of:
        case IntType():
            return 0
        case BytesType():
            return b""
        case ArrayType(element=element, length=length):
            return (zero(element),) * length
        case StructType(python_class=python_class):
            return python_class() if python_class is not None else None


class Struct:
    """The base that ``@bpf.struct`` gives a class: C's layout; values compare; frozen if a map gave them.

    Fields are slots and nothing stands between them and an assignment, so that values of events can be made quickly;
    what is frozen is of a subclass that refuses to be set.
    """

    __bpf__: StructType
    __slots__ = ()

    def __init__(self, *args: Any, **values: Any) -> None:
        of = type(self).__bpf__
        names = [f.name for f in of.fields]
        if len(args) > len(names):
            raise TypeError(f"{of.name} has {len(names)} fields, {len(args)} values were given")
        for name, value in zip(names, args, strict=False):
            if name in values:
                raise TypeError(f"{of.name}: field {name!r} is given twice")
            values[name] = value
        for name in values:
            if name not in names:
                raise TypeError(f"{of.name} has no field {name!r}; it has {', '.join(names)}")
        for f in of.fields:
            setattr(self, f.name, values[f.name] if f.name in values else zero(f.layout))

    @classmethod
    def _from_values(cls, **values: Any) -> Struct:
        self = cls(**values)
        made: Any = cls
        self.__class__ = _frozen(made)
        return self

    def _values(self) -> tuple[Any, ...]:
        values = (getattr(self, f.name) for f in type(self).__bpf__.fields)
        return tuple(tuple(v) if isinstance(v, list) else v for v in values)

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, Struct) and other.__bpf__ is self.__bpf__ and self._values() == other._values()
        )

    def __hash__(self) -> int:
        return hash(self._values())

    def __reduce__(self) -> tuple[Any, ...]:
        """A copy can be changed."""
        of = type(self).__bpf__
        return of.python_class, tuple(getattr(self, f.name) for f in of.fields)

    def __repr__(self) -> str:
        of = type(self).__bpf__
        return f"{of.name}({', '.join(f'{f.name}={getattr(self, f.name)!r}' for f in of.fields)})"


def _refuse_to_set(self: Struct, name: str, value: Any) -> None:
    raise AttributeError(
        f"this {type(self).__name__} is a copy of what the kernel holds and cannot be changed; "
        "store a new value in the map instead"
    )


@functools.cache
def _frozen(cls: Any) -> type[Struct]:
    """The subclass of the frozen values of a struct class."""
    body = {
        "__slots__": (),
        "__setattr__": _refuse_to_set,
        "__module__": cls.__module__,
        "__qualname__": cls.__qualname__,
        "__doc__": cls.__doc__,
    }
    return types.new_class(cls.__name__, (cls,), exec_body=lambda namespace: namespace.update(body))
