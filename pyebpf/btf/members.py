"""The members of a struct, decoded when they are first looked at: the kernel's structs refer to each other."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from pyebpf.btf.types import Member
from pyebpf.hints import overload


class LateMembers(Sequence[Member]):
    """The members of one struct, decoded when first needed."""

    __slots__ = ("_decode", "_members")

    def __init__(self, decode: Callable[[], tuple[Member, ...]]) -> None:
        self._decode: Callable[[], tuple[Member, ...]] | None = decode
        self._members: tuple[Member, ...] = ()

    def all(self) -> tuple[Member, ...]:
        """The members."""
        if self._decode is not None:
            self._members = self._decode()
            self._decode = None
        return self._members

    @overload
    def __getitem__(self, index: int) -> Member: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[Member, ...]: ...
    def __getitem__(self, index: int | slice) -> Member | tuple[Member, ...]:
        return self.all()[index]

    def __len__(self) -> int:
        return len(self.all())

    def __iter__(self) -> Iterator[Member]:
        return iter(self.all())
