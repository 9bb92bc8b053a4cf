"""The machine's memory: separate regions, each with its own bounds, at addresses that programs can calculate with.

An address is ``page << PAGE_BITS | offset``: a region starts at offset 0 of a page of its own (a large one takes
several), so whatever arithmetic a program does, an access outside of the region that it started from misses. Page 0
is never mapped. Regions that must have 32-bit addresses (packets: the context holds them in 32-bit fields) get low
pages, all others high ones.

Freed high pages are not given out again, so a pointer that outlived its region misses too. There are few low pages:
when all have been used once, those that were freed longest ago come again.
"""

from __future__ import annotations

import itertools
from collections import deque

from pyebpf.hints import TYPE_CHECKING
from pyebpf.records import dataclass, field
from pyebpf.runtime.vm.errors import OutOfBounds, ReadOnly

if TYPE_CHECKING:
    from typing import Final


PAGE_BITS: Final = 24
PAGE_MASK: Final = (1 << PAGE_BITS) - 1
_LOW_PAGES: Final = 1 << 32 - PAGE_BITS
_FIRST_HIGH_PAGE: Final = 1 << 40 - PAGE_BITS
"""High addresses are above 2**40, so that one cut to 32 bits does not hit another region by accident often."""


@dataclass(eq=False, slots=True)
class Region:
    """Memory of its own bounds: ``size`` bytes of ``data`` at ``address``."""

    address: int
    data: bytearray
    name: str
    writable: bool = True

    @property
    def size(self) -> int:
        """Its length in bytes."""
        return len(self.data)


@dataclass(slots=True)
class Memory:
    """All regions. ``pages`` maps an address' page to the bytes there: translated code indexes it directly, with
    ``struct`` functions that check the bounds; read-only pages are read-only views, which refuse writes."""

    pages: dict[int, memoryview] = field(default_factory=dict)
    regions: dict[int, Region] = field(default_factory=dict)
    buried: list[Region] = field(default_factory=list)
    _freed_low: deque[int] = field(default_factory=deque)
    _low: itertools.count[int] = field(default_factory=lambda: itertools.count(1))
    _high: itertools.count[int] = field(default_factory=lambda: itertools.count(_FIRST_HIGH_PAGE))

    def map(self, data: bytearray, name: str, *, writable: bool = True, low: bool = False) -> Region:
        """Give ``data`` an address; the bytes are shared, not copied, and must keep their length. ``low``: one below
        2**32."""
        count = max(1, -(-len(data) >> PAGE_BITS))
        page = self._low_page(count) if low else next(self._high)
        for _ in range(0 if low else count - 1):
            next(self._high)
        region = Region(page << PAGE_BITS, data, name, writable)
        view = memoryview(data) if writable else memoryview(data).toreadonly()
        for index in range(count):
            self.pages[page + index] = view[index << PAGE_BITS : (index + 1) << PAGE_BITS]
            self.regions[page + index] = region
        return region

    def _low_page(self, count: int) -> int:
        if count > 1:
            raise OutOfBounds(f"a packet has at most {1 << PAGE_BITS} bytes")
        page = next(self._low)
        if page < _LOW_PAGES:
            return page
        if not self._freed_low:
            raise OutOfBounds("the machine has no 32-bit addresses left")
        return self._freed_low.popleft()

    def unmap(self, region: Region) -> None:
        """Take a region away; its addresses miss from now on."""
        first = region.address >> PAGE_BITS
        if first < _LOW_PAGES:
            self._freed_low.append(first)
        for page in range(first, first + max(1, -(-region.size >> PAGE_BITS))):
            self.pages.pop(page).release()
            del self.regions[page]

    def bury(self, region: Region) -> None:
        """Take a region away at the next ``sweep``: what a program deletes may be used until its run ends."""
        self.buried.append(region)

    def sweep(self) -> None:
        """Take away what was buried; the machine does so at the end of a run."""
        while self.buried:
            self.unmap(self.buried.pop())

    def view(self, address: int, size: int, *, write: bool = False) -> memoryview:
        """``size`` bytes at ``address``, shared. Raises ``OutOfBounds``, ``ReadOnly``."""
        address &= 0xFFFF_FFFF_FFFF_FFFF
        region = self.regions.get(address >> PAGE_BITS)
        if region is None or size < 0:
            raise OutOfBounds(self.describe(address, size, write))
        offset = address - region.address
        if offset + size > region.size:
            raise OutOfBounds(self.describe(address, size, write))
        if write and not region.writable:
            raise ReadOnly(self.describe(address, size, write))
        return memoryview(region.data)[offset : offset + size]

    def read(self, address: int, size: int) -> bytes:
        """``size`` bytes at ``address``. Raises ``OutOfBounds``."""
        return bytes(self.view(address, size))

    def write(self, address: int, data: bytes | bytearray | memoryview) -> None:
        """Store ``data`` at ``address``. Raises ``OutOfBounds``, ``ReadOnly``."""
        self.view(address, len(data), write=True)[:] = data

    def describe(self, address: int, size: int, write: bool = False) -> str:
        """Why an access of ``size`` bytes at ``address`` is wrong, in one sentence."""
        what = f"a {'write' if write else 'read'} of {size} byte{'s' if size != 1 else ''}"
        region = self.regions.get(address >> PAGE_BITS)
        if region is not None:
            if write and not region.writable:
                return f"{what} to {region.name}, which is read-only"
            return (
                f"{what} at offset {address - region.address} of {region.name}, which has {region.size} bytes"
            )
        if address < 1 << PAGE_BITS:
            return f"{what} at address {address:#x}: a null pointer, or a number that is no pointer"
        before = self.regions.get((address >> PAGE_BITS) + 1)
        if before is not None and before.address - address <= 1 << 20:
            return f"{what} {before.address - address} bytes before {before.name}"
        return f"{what} at address {address:#x}, where there is no memory (any more)"
