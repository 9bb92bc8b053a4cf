"""``dataclass`` as the standard library has it, for packages with hundreds of them: cheap until objects are made.

``dataclasses.dataclass`` compiles the text of up to eight methods for every class when its module is imported, and
its module imports ``inspect``: with our 300 classes that was the larger part of the first compilation. Here
comparing, hashing and printing are ordinary functions over the fields. So is making the first objects of a class, since
many classes have only a few in a process; then ``__init__`` is compiled. What is supported behaves the same
(``tests/unit/records`` compares the two); anything else is a TypeError when the class is made. ``dataclasses.fields``,
``replace`` and ``is_dataclass`` take these classes too.

Annotations have to be strings (``from __future__ import annotations``).
"""

from __future__ import annotations

import operator
from _thread import get_ident
from collections.abc import Callable, Mapping, Sequence

from pyebpf.hints import TYPE_CHECKING, Any

_MISSING: object = object()
_UNCOMPILED = 32
"""So many objects of a class are made before its ``__init__`` is compiled, which takes as long as these."""
_set = object.__setattr__
_BEING_SHOWN: set[tuple[int, int, int]] = set()
"""The objects that are being printed, as which class and by which thread: one that is part of itself is shown once."""


class Field:
    """One field of a record; the attributes mean what they mean in ``dataclasses.Field``."""

    __slots__ = ("compare", "default", "default_factory", "init", "kw_only", "name", "repr", "type")

    def __init__(
        self, default: object, factory: object, init: bool, repr: bool, compare: bool, kw_only: bool | None
    ) -> None:
        self.name = ""
        self.type = ""
        self.default = default
        self.default_factory = factory
        self.init = init
        self.repr = repr
        self.compare = compare
        self.kw_only = kw_only

    @property
    def required(self) -> bool:
        """Whether an object cannot be made without a value for it."""
        return self.init and self.default is _MISSING and self.default_factory is _MISSING


class _Shape:
    """What the decorator found out about a class."""

    __slots__ = ("fields", "frozen", "owner")

    def __init__(self, fields: dict[str, Field], frozen: bool) -> None:
        self.fields = fields
        self.frozen = frozen
        self.owner: type = object  # the class, when it has been made


def _field(
    *,
    default: object = _MISSING,
    default_factory: object = _MISSING,
    init: bool = True,
    repr: bool = True,
    compare: bool = True,
    kw_only: bool | None = None,
) -> Any:
    if default is not _MISSING and default_factory is not _MISSING:
        raise ValueError("cannot specify both default and default_factory")
    return Field(default, default_factory, init, repr, compare, kw_only)


def _dataclass(
    cls: type | None = None,
    /,
    *,
    repr: bool = True,
    eq: bool = True,
    order: bool = False,
    frozen: bool = False,
    slots: bool = False,
    weakref_slot: bool = False,
    kw_only: bool = False,
) -> Any:
    def decorate(cls: type) -> type:
        if order and not eq:
            raise ValueError("eq must be true if order is true")
        if weakref_slot and not slots:
            raise TypeError("weakref_slot is True but slots is False")
        fields = _collect(cls, frozen, kw_only, slots)
        shape = _Shape(fields, frozen)
        own = cls.__dict__
        added: dict[str, object] = {
            "__record__": shape,
            "__dataclass_params__": shape,
            "__dataclass_fields__": _STANDARD,
        }
        if "__match_args__" not in own:
            added["__match_args__"] = tuple(f.name for f in fields.values() if f.init and not f.kw_only)
        if "__init__" not in own:
            added["__init__"] = _first_init(shape)
        if repr and "__repr__" not in own:
            added["__repr__"] = _repr_of([f.name for f in fields.values() if f.repr])
        if eq:
            added |= _comparisons(cls, fields, order, frozen)
        if frozen:
            added |= _frozen(cls, shape, slots)
        if slots:
            cls = _with_slots(cls, fields, weakref_slot, added)
        else:
            for name, value in added.items():
                _put(cls, name, value)
        shape.owner = cls
        return cls

    return decorate if cls is None else decorate(cls)


def _put(cls: type, name: str, value: object) -> None:
    setattr(cls, name, value)


def _collect(cls: type, frozen: bool, kw_only: bool, slots: bool) -> dict[str, Field]:
    """The fields of the bases and of ``cls``, in order; class attributes become plain defaults."""
    fields: dict[str, Field] = {}
    for base in reversed(cls.__mro__[1:]):
        shape = base.__dict__.get("__record__")
        if isinstance(shape, _Shape):
            if shape.frozen != frozen:
                raise TypeError("frozen and changeable dataclasses cannot inherit from one another")
            fields.update(shape.fields)
        elif "__dataclass_fields__" in base.__dict__:
            raise TypeError(f"{base.__qualname__} is a dataclass of the standard library")
    for name, annotation in cls.__annotations__.items():
        if not isinstance(annotation, str):
            raise TypeError(f"{cls.__qualname__}.{name}: `from __future__ import annotations` is missing")
        if annotation.startswith(("ClassVar", "typing.ClassVar")):
            continue
        if annotation.startswith(("InitVar", "KW_ONLY", "dataclasses.")):
            raise TypeError(f"{cls.__qualname__}.{name}: {annotation} is not supported")
        fields[name] = _own_field(cls, name, annotation, kw_only, slots)
    for name, value in cls.__dict__.items():
        if isinstance(value, Field) and name not in cls.__annotations__:
            raise TypeError(f"{name!r} is a field but has no type annotation")
    optional = ""
    for one in fields.values():
        if one.init and not one.kw_only:
            if not one.required:
                optional = one.name
            elif optional:
                raise TypeError(f"non-default argument {one.name!r} follows default argument {optional!r}")
    return fields


def _own_field(cls: type, name: str, annotation: str, kw_only: bool, slots: bool) -> Field:
    stated = cls.__dict__.get(name, _MISSING)
    if isinstance(stated, Field):
        found = stated
        if not slots:
            if found.default is _MISSING:
                delattr(cls, name)
            else:
                _put(cls, name, found.default)
    else:
        found = Field(stated, _MISSING, True, True, True, None)
    if found.default is not _MISSING and type(found.default).__hash__ is None:
        raise ValueError(
            f"mutable default {type(found.default)} for field {name} is not allowed: use default_factory"
        )
    found.name = name
    found.type = annotation
    if found.kw_only is None:
        found.kw_only = kw_only
    return found


def _with_slots(
    cls: type, fields: Mapping[str, Field], weakref_slot: bool, added: Mapping[str, object]
) -> type:
    """``cls`` made again with ``__slots__``, which a class can get only when it is made, and with what is ``added``."""
    if "__slots__" in cls.__dict__:
        raise TypeError(f"{cls.__name__} already specifies __slots__")
    inherited: set[str] = set()
    for base in cls.__mro__[1:-1]:
        stated = base.__dict__.get("__slots__", ())
        inherited.update((stated,) if isinstance(stated, str) else stated)
    wanted = (*fields, "__weakref__") if weakref_slot else tuple(fields)
    body = {k: v for k, v in cls.__dict__.items() if k not in fields and k not in ("__dict__", "__weakref__")}
    body["__slots__"] = tuple(name for name in wanted if name not in inherited)
    body.update(added)
    made: type = type(cls)(cls.__name__, cls.__bases__, body)
    made.__qualname__ = cls.__qualname__
    return made


def _first_init(shape: _Shape) -> Callable[..., None]:
    """An ``__init__`` that serves a few times; then it puts the compiled one into its place."""
    used = 0
    fields, put = shape.fields, _set if shape.frozen else setattr

    def __init__(self: object, *args: object, **values: object) -> None:
        nonlocal used
        if used < _UNCOMPILED:
            used += 1
            bound = _bind(fields, args, values)
            if bound is not None:
                for name, value in bound.items():
                    put(self, name, value)
                if hasattr(shape.owner, "__post_init__"):
                    operator.methodcaller("__post_init__")(self)
                return
        made = _compile_init(shape.owner, fields, shape.frozen)
        _put(shape.owner, "__init__", made)
        made(self, *args, **values)

    return __init__


def _bind(
    fields: Mapping[str, Field], args: tuple[object, ...], values: dict[str, object]
) -> dict[str, object] | None:
    """The value of every field; None where the arguments do not fit, of which the compiled ``__init__`` tells."""
    bound: dict[str, object] = {}
    positions = named = 0
    for name, one in fields.items():
        value = _MISSING
        if one.init:
            if positions < len(args) and not one.kw_only:
                value = args[positions]
                positions += 1
            elif name in values:
                value = values[name]
                named += 1
            elif one.required:
                return None
        if value is not _MISSING:
            bound[name] = value
        elif callable(one.default_factory):
            bound[name] = one.default_factory()
        elif one.default is not _MISSING:
            bound[name] = one.default
    return bound if (positions, named) == (len(args), len(values)) else None


def _compile_init(cls: type, fields: Mapping[str, Field], frozen: bool) -> Callable[..., None]:
    known: dict[str, object] = {"_missing_": _MISSING, "_set_": _set}
    positional: list[str] = []
    keywords: list[str] = []
    body: list[str] = []
    for name, one in fields.items():
        value = name
        default = ""
        if one.default_factory is not _MISSING:
            known[f"_new_{name}"] = one.default_factory
            default = "=_missing_"
            value = f"_new_{name}() if {name} is _missing_ else {name}" if one.init else f"_new_{name}()"
        elif one.default is not _MISSING:
            known[f"_default_{name}"] = one.default
            default = f"=_default_{name}"
            value = name if one.init else f"_default_{name}"
        elif not one.init:
            continue
        if one.init:
            (keywords if one.kw_only else positional).append(name + default)
        body.append(f"_set_(_self_, {name!r}, {value})" if frozen else f"_self_.{name} = {value}")
    if hasattr(cls, "__post_init__"):
        body.append("_self_.__post_init__()")
    parameters = ["_self_", *positional, *(["*", *keywords] if keywords else [])]
    exec(f"def __init__({', '.join(parameters)}):\n " + "\n ".join(body or ["pass"]), known)
    made = known["__init__"]
    assert callable(made)
    _put_name(made, f"{cls.__qualname__}.__init__")
    return made


def _put_name(function: object, name: str) -> None:
    """What a TypeError about wrong arguments calls the function."""
    _set(function, "__qualname__", name)


def _repr_of(names: Sequence[str]) -> Callable[[object], str]:
    def __repr__(self: object) -> str:
        this = id(self), id(names), get_ident()
        if this in _BEING_SHOWN:
            return "..."
        _BEING_SHOWN.add(this)
        try:
            inner = ", ".join([f"{name}={getattr(self, name)!r}" for name in names])
        finally:
            _BEING_SHOWN.discard(this)
        return f"{type(self).__qualname__}({inner})"

    return __repr__


def _comparisons(cls: type, fields: Mapping[str, Field], order: bool, frozen: bool) -> dict[str, object]:
    own = cls.__dict__
    names = [f.name for f in fields.values() if f.compare]
    values: Callable[[object], Any] = operator.attrgetter(*names) if names else _nothing
    made: dict[str, object] = {}

    def __eq__(self: object, other: object) -> bool:
        return values(self) == values(other) if type(other) is type(self) else NotImplemented

    def __hash__(self: object) -> int:
        return hash(values(self))

    if "__eq__" not in own:
        made["__eq__"] = __eq__
    explicit = own.get("__hash__", _MISSING)
    if explicit is _MISSING or (explicit is None and "__eq__" in own):
        made["__hash__"] = __hash__ if frozen else None
    if order:
        for name in ("__lt__", "__le__", "__gt__", "__ge__"):
            if name in own:
                raise TypeError(f"{cls.__name__} defines {name} itself")
            made[name] = _ordering(getattr(operator, name), values)
    return made


def _nothing(self: object) -> tuple[()]:
    return ()


def _ordering(compare: Callable[[Any, Any], bool], values: Callable[[object], Any]) -> Callable[..., bool]:
    def method(self: object, other: object) -> bool:
        return compare(values(self), values(other)) if type(other) is type(self) else NotImplemented

    return method


def _frozen(cls: type, shape: _Shape, slots: bool) -> dict[str, object]:
    own, fields = cls.__dict__, shape.fields

    def __setattr__(self: object, name: str, value: object) -> None:
        if type(self) is shape.owner or name in fields:
            from dataclasses import FrozenInstanceError

            raise FrozenInstanceError(f"cannot assign to field {name!r}")
        _set(self, name, value)

    def __delattr__(self: object, name: str) -> None:
        if type(self) is shape.owner or name in fields:
            from dataclasses import FrozenInstanceError

            raise FrozenInstanceError(f"cannot delete field {name!r}")
        object.__delattr__(self, name)

    made: dict[str, object] = {"__setattr__": __setattr__, "__delattr__": __delattr__}
    for name in made:
        if name in own:
            raise TypeError(f"{cls.__name__} is frozen and defines {name}")
    if slots:
        # Copying and pickling set attributes by name otherwise.
        if "__getstate__" not in own:
            made["__getstate__"] = lambda self: [getattr(self, name) for name in fields]
        if "__setstate__" not in own:
            made["__setstate__"] = _set_state
    return made


def _set_state(self: object, state: list[object]) -> None:
    for one, value in zip(_fields(self), state, strict=True):
        _set(self, one.name, value)


class _StandardFields:
    """Makes ``__dataclass_fields__`` when the standard library asks for it."""

    def __get__(self, instance: object, owner: type) -> Mapping[str, object]:
        import dataclasses

        def standard(one: Field) -> Any:
            keywords: dict[str, Any] = {
                k: getattr(one, k)
                for k in ("init", "repr", "compare", "kw_only", "default", "default_factory")
            }
            return dataclasses.field(**{k: v for k, v in keywords.items() if v is not _MISSING})

        members = [(one.name, one.type, standard(one)) for one in _fields(owner)]
        made: Any = dataclasses.make_dataclass("fields", members, init=False, repr=False, eq=False)
        found: Mapping[str, object] = made.__dataclass_fields__
        return found


_STANDARD = _StandardFields()


def _fields(record: object) -> tuple[Any, ...]:
    shape = getattr(record, "__record__", None)
    if isinstance(shape, _Shape):
        return tuple(shape.fields.values())
    import dataclasses

    standard: Any = record
    return dataclasses.fields(standard)


def _replace(record: Any, /, **changes: object) -> Any:
    for one in _fields(record):
        if not one.init:
            if one.name in changes:
                raise ValueError(f"field {one.name} is declared with init=False, it cannot be replaced")
        elif one.name not in changes:
            changes[one.name] = getattr(record, one.name)
    return type(record)(**changes)


def _is_dataclass(record: object) -> bool:
    return hasattr(record, "__record__") or hasattr(record, "__dataclass_fields__")


if TYPE_CHECKING:
    # Type checkers know the standard library's by name; ours behave the same.
    from dataclasses import dataclass as dataclass
    from dataclasses import field as field
    from dataclasses import fields as fields
    from dataclasses import is_dataclass as is_dataclass
    from dataclasses import replace as replace
else:
    dataclass, field, fields, is_dataclass, replace = _dataclass, _field, _fields, _is_dataclass, _replace
