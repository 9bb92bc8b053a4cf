"""CO-RE: instructions that were compiled against some kernel's types are made to fit the types of another.

A record names a type of the object, a way to a field in it, and what the instruction holds of it: an offset, a size,
whether it exists. The types of the same name in the kernel are searched for that field; all that have it must agree.
What the kernel lacks makes the instruction one that the verifier refuses, unless it never runs: programs ask first
whether something exists, and the verifier then leaves the other branch out.

The rules are libbpf's (relo_core.c of 1.8): objects of clang mean the same here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from pyebpf import btf
from pyebpf.btf.access import CoreKind
from pyebpf.hints import TYPE_CHECKING
from pyebpf.object import CoreRelocation, PreparedProgram
from pyebpf.records import dataclass, field
from pyebpf.runtime.core_compat import same_kind
from pyebpf.runtime.core_match import FIELD_KINDS, Way, find, local_way, missing
from pyebpf.runtime.core_patch import check, current, is_access, poison, put, resize
from pyebpf.runtime.core_value import Value, value_of
from pyebpf.runtime.errors import CoreError

if TYPE_CHECKING:
    from typing import Final


_ENUMS: Final = (btf.Kind.ENUM, btf.Kind.ENUM64)


@dataclass(frozen=True, slots=True)
class Poison:
    """The instruction at ``slot`` asks for what the kernel lacks. ``text`` says what, without a full stop."""

    slot: int
    text: str


@dataclass(frozen=True, slots=True)
class _Candidate:
    """Type ``number`` of ``spec``."""

    spec: btf.Spec
    number: int

    @property
    def type(self) -> btf.Type:
        """The type."""
        found = self.spec.type(self.number)
        assert found is not None
        return found


@dataclass(slots=True)
class Relocator:
    """Applies records against one kernel. ``name``: how messages call it. ``modules``: gives the types of its modules,
    which are looked at where ``kernel`` has no type of a name."""

    kernel: btf.Spec
    name: str = "this kernel"
    modules: Callable[[], Iterable[btf.Spec]] = tuple
    _found: dict[int, tuple[btf.Type, list[_Candidate]]] = field(default_factory=dict)

    @classmethod
    def running(cls) -> Relocator:
        """One for the running kernel. Raises ``ObjectError`` if that has no type information."""
        from pyebpf.runtime.kernel_btf import running_kernel, vmlinux
        from pyebpf.runtime.kernel_modules import modules

        return cls(vmlinux(), running_kernel(), lambda: (spec for _, spec in modules()))

    def apply(self, code: bytearray, relocations: Iterable[tuple[int, CoreRelocation]]) -> list[Poison]:
        """Change the instructions at the given slots; return those that ask for what the kernel lacks.

        Raises ``CoreError``, which names the instruction and what it refers to.
        """
        lacking = []
        for slot, relocation in relocations:
            try:
                text = self._one(code, slot, relocation)
            except (CoreError, btf.BtfError) as error:
                what = f"{btf.describe(relocation.type)} + {relocation.access}"
                raise CoreError(f"CO-RE relocation at instruction {slot} ({what}): {error}") from error
            if text is not None:
                lacking.append(Poison(slot, text))
        return lacking

    def _one(self, code: bytearray, slot: int, relocation: CoreRelocation) -> str | None:
        """Apply one record; what is missing, if the instruction was poisoned."""
        check(code, slot)
        kind = core_kind(relocation)
        if kind is CoreKind.TYPE_ID_LOCAL:
            raise CoreError("the id of a local type is known to the linker alone")
        local = local_way(kind, relocation.type, relocation.access)
        before = value_of(kind, local, lambda root: 0)
        lacking, value = self._value(kind, local, before, is_access(code, slot))
        if value.number is None:
            poison(code, slot)
            return lacking
        if before.certain and not _holds(code, slot, before):
            raise CoreError(f"the instruction holds {current(code, slot)} instead of {before.number}")
        if not is_access(code, slot) or value.size == before.size:
            put(code, slot, value.number)
            return None
        if not _resizable(before.type, value.type):
            poison(code, slot)
            sizes = f"{value.size} bytes on {self.name} instead of {before.size}"
            return f"{_field_name(local)} has {sizes}, which a load cannot make up for"
        put(code, slot, value.number)
        resize(code, slot, before.size, value.size)
        return None

    def _value(self, kind: CoreKind, local: Way, before: Value, access: bool) -> tuple[str, Value]:
        """What the kernel says, and a text for the case that it says nothing. ``access``: to a load or store, for which
        sizes count too."""
        candidates = self._candidates(local.root)
        fitting: list[_Candidate] = []
        chosen: tuple[Way, Value] | None = None
        for candidate in candidates:
            way = find(kind, local, candidate.type)
            if way is None:
                continue
            value = value_of(kind, way, lambda root, c=candidate: c.number)  # type: ignore[misc]
            fitting.append(candidate)
            if chosen is None:
                chosen = way, value
            elif (
                way.bit_offset != chosen[0].bit_offset
                or value.number != chosen[1].number
                or (access and _fits(before, value) != _fits(before, chosen[1]))
            ):
                first, second = _told(kind, chosen, access), _told(kind, (way, value), access)
                raise CoreError(
                    f"{self.name} has several types of this name that differ: {first} and {second}"
                )
        if chosen is None:
            absent = value_of(kind, None, lambda root: 0)
            return f"{missing(kind, local, [c.type for c in candidates])} on {self.name}", absent
        candidates[:] = fitting  # the later records of this type are about the same ones
        return "", chosen[1]

    def _candidates(self, root: btf.Type) -> list[_Candidate]:
        known = self._found.get(id(root))
        if known is not None:
            return known[1]
        name = btf.essential_name(btf.name_of(root))
        if not name:
            raise CoreError("types without name cannot be looked for")
        kind = btf.kind_of(root)
        kinds = _ENUMS if kind in _ENUMS else (kind,)
        found = [_Candidate(self.kernel, number) for number in self.kernel.candidates(name, *kinds)]
        if not found:
            for spec in self.modules():
                own = [number for number in spec.candidates(name, *kinds) if number >= spec.first]
                found += [_Candidate(spec, number) for number in own]
        found = [candidate for candidate in found if same_kind(root, candidate.type)]
        self._found[id(root)] = root, found
        return found


def records(prepared: PreparedProgram, types: btf.Spec) -> Iterator[tuple[int, CoreRelocation]]:
    """The records of a prepared program, whose ``core_types`` are ``types``. Raises ``CoreError``."""
    for reference in prepared.core:
        root = types.type(reference.type)
        if root is None:
            raise CoreError(f"function {reference.function!r}: a CO-RE relocation about void")
        yield reference.slot, CoreRelocation(reference.slot, reference.kind, root, reference.access)


def core_kind(relocation: CoreRelocation) -> CoreKind:
    """The kind of a record. Raises ``CoreError`` for a number that is none."""
    try:
        return CoreKind(relocation.kind)
    except ValueError:
        raise CoreError(f"kind {relocation.kind} is not known") from None


def _holds(code: bytearray, slot: int, value: Value) -> bool:
    """Whether the instruction has the value of the object's own types; enumerators of 32 bits may be extended either
    way."""
    assert value.number is not None
    return (current(code, slot) - value.number) % (1 << 32) == 0


def _fits(before: Value, after: Value) -> tuple[int, bool]:
    return after.size, after.size == before.size or _resizable(before.type, after.type)


def _resizable(old: btf.Type | None, new: btf.Type | None) -> bool:
    """Whether a load may take the kernel's size: it fills the rest of the register with zeros."""
    if isinstance(old, btf.Ptr) and isinstance(new, btf.Ptr):
        return True
    return isinstance(old, btf.Int) and isinstance(new, btf.Int) and not old.signed and not new.signed


def _told(kind: CoreKind, found: tuple[Way, Value], access: bool) -> str:
    """What is compared, in words."""
    way, value = found
    if kind not in FIELD_KINDS:
        return str(value.number)
    what = f" of {btf.describe(value.type)}, {value.size} bytes" if access and value.type is not None else ""
    return f"{value.number} (bit {way.bit_offset}{what})"


def _field_name(local: Way) -> str:
    return f"field `{local.text}` of `{btf.describe(local.root)}`"
