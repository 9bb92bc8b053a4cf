"""The elements of a map as raw bytes: one system call for one element, or for a batch of them.

What the bytes mean is the business of ``maps``; this module knows how the kernel wants its buffers and
which of its answers are not failures. Source: kernel/bpf/syscall.c, kernel/bpf/hashtab.c.
"""

from __future__ import annotations

import ctypes
import errno
from collections.abc import Iterable, Iterator, Sequence

from pyebpf.hints import TYPE_CHECKING
from pyebpf.records import dataclass, field
from pyebpf.runtime.attrs import MapBatch, MapElem, address
from pyebpf.runtime.backing import NoBatch
from pyebpf.runtime.errors import ENOTSUPP, BpfError, Phase
from pyebpf.runtime.fd import Fd
from pyebpf.runtime.info import fdinfo
from pyebpf.runtime.syscall import call, error
from pyebpf.uapi.constants import BpfCmd

if TYPE_CHECKING:
    from typing import Final


_NO_BATCH: Final = frozenset({ENOTSUPP, errno.EOPNOTSUPP, errno.EINVAL})
"""What kernels and map types without a batch operation answer (before 5.6 the command itself is unknown)."""

_BATCH: Final = 256
_BATCH_BYTES: Final = 1 << 20
_STALE_ROUNDS: Final = 100
_ELEM_SIZE: Final = ctypes.sizeof(MapElem)
_MIN_CURSOR: Final = 8


def _buffer(size: int) -> ctypes.Array[ctypes.c_char]:
    return ctypes.create_string_buffer(max(size, 1))


@dataclass(slots=True)
class Elements:
    """The elements of the map ``fd``.

    ``key_size`` and ``value_bytes``: what one key and one value take in user space, in bytes (per-CPU values
    of all CPUs together). ``subject`` is for messages.
    """

    fd: Fd
    key_size: int
    value_bytes: int
    subject: str
    _without_batch: set[BpfCmd] = field(default_factory=set)

    def _call(self, cmd: BpfCmd, key: bytes | None, value: int, flags: int = 0) -> int:
        attr = MapElem(self.fd.fileno(), 0, 0 if key is None else address(key), value, flags)
        return call(cmd, attr, _ELEM_SIZE)

    @property
    def frozen(self) -> bool:
        """Whether user space can no longer write to the map."""
        return fdinfo(self.fd).get("frozen") == "1"

    def failure(self, code: int, phase: Phase, detail: str = "") -> BpfError:
        """The exception for ``code`` on this map."""
        found = error(code, phase, self.subject)
        if code == errno.EPERM:
            found.detail = "the map is frozen" if self.frozen else found.detail
        found.detail = detail or found.detail
        return found

    def lookup(self, key: bytes | None, *, delete: bool = False, flags: int = 0) -> bytes | None:
        """The value of ``key`` (``None`` for queues and stacks), or ``None`` if there is none; ``delete``
        takes it out in the same step. Raises ``BpfError``."""
        value = _buffer(self.value_bytes)
        cmd = BpfCmd.MAP_LOOKUP_AND_DELETE_ELEM if delete else BpfCmd.MAP_LOOKUP_ELEM
        result = self._call(cmd, key, ctypes.addressof(value), flags)
        if result == -errno.ENOENT:
            return None
        if result < 0:
            raise self.failure(-result, Phase.MAP_LOOKUP)
        return value.raw[: self.value_bytes]

    def update(self, key: bytes | None, value: bytes, flags: int = 0) -> None:
        """Set an element. Raises ``BpfError``: E2BIG full, EEXIST and ENOENT by the flags, EPERM frozen."""
        result = self._call(BpfCmd.MAP_UPDATE_ELEM, key, address(value), flags)
        if result < 0:
            raise self.failure(-result, Phase.MAP_UPDATE)

    def delete(self, key: bytes) -> bool:
        """Take an element out; whether it was there. Raises ``BpfError``."""
        result = self._call(BpfCmd.MAP_DELETE_ELEM, key, 0)
        if result < 0 and result != -errno.ENOENT:
            raise self.failure(-result, Phase.MAP_DELETE)
        return result >= 0

    def next_key(self, key: bytes | None) -> bytes | None:
        """The key after ``key``, or the first one; ``None`` at the end. After a key that is gone the kernel
        starts again from the first."""
        following = _buffer(self.key_size)
        result = self._call(BpfCmd.MAP_GET_NEXT_KEY, key, ctypes.addressof(following))
        if result == -errno.ENOENT:
            return None
        if result < 0:
            raise self.failure(-result, Phase.MAP_ITERATE)
        return following.raw[: self.key_size]

    def walk(self) -> Iterator[bytes]:
        """Every key once, one system call each.

        Deleting the key that was given last sends the kernel back to the first one; keys that were seen are
        passed over then, so elements that stay are never missed and never given twice.
        """
        seen: set[bytes] = set()
        key = self.next_key(None)
        stale = 0
        while key is not None:
            following = self.next_key(key)
            if key in seen:
                stale += 1
                if stale > _STALE_ROUNDS * len(seen):
                    raise self.failure(
                        errno.EAGAIN, Phase.MAP_ITERATE, "keys are deleted faster than they can be read"
                    )
            else:
                stale = 0
                seen.add(key)
                yield key
                # Whoever consumes this may have deleted ``key`` by now, but its successor is already known.
            key = following

    def batches(self, *, delete: bool = False) -> Iterator[tuple[bytes, bytes]]:
        """Every key with its value, a few hundred to a system call; ``delete`` takes them out in the same
        step.

        Raises ``NoBatch`` before the first pair where the kernel has no such operation.
        """
        cmd = BpfCmd.MAP_LOOKUP_AND_DELETE_BATCH if delete else BpfCmd.MAP_LOOKUP_BATCH
        if cmd in self._without_batch:
            raise NoBatch
        cursors = [_buffer(max(self.key_size, _MIN_CURSOR)) for _ in range(2)]
        count = max(1, min(_BATCH, _BATCH_BYTES // (self.key_size + self.value_bytes)))
        first = True
        while True:
            keys, values = _buffer(count * self.key_size), _buffer(count * self.value_bytes)
            attr = MapBatch(
                0 if first else ctypes.addressof(cursors[0]),
                ctypes.addressof(cursors[1]),
                ctypes.addressof(keys),
                ctypes.addressof(values),
                count,
                self.fd.fileno(),
            )
            result = call(cmd, attr)
            if first and -result in _NO_BATCH:
                self._without_batch.add(cmd)
                raise NoBatch
            if result == -errno.ENOSPC:
                # One bucket of the hash table holds more; nothing was copied, the cursor has not moved.
                count *= 2
                continue
            if result < 0 and result != -errno.ENOENT:
                raise self.failure(-result, Phase.MAP_ITERATE)
            yield from self._pairs(keys.raw, values.raw, attr.count)
            if result == -errno.ENOENT:
                return
            first = False
            cursors.reverse()

    def _pairs(self, keys: bytes, values: bytes, count: int) -> Iterator[tuple[bytes, bytes]]:
        key_size, value_bytes = self.key_size, self.value_bytes
        for index in range(count):
            yield (
                keys[index * key_size : (index + 1) * key_size],
                values[index * value_bytes : (index + 1) * value_bytes],
            )

    def update_many(self, pairs: Sequence[tuple[bytes, bytes]], flags: int = 0) -> None:
        """Set many elements, in one system call where the kernel can. Those before a failing one are set."""
        self._many(BpfCmd.MAP_UPDATE_BATCH, pairs, Phase.MAP_UPDATE, flags)

    def delete_many(self, keys: Iterable[bytes]) -> int:
        """Take many elements out; how many were there."""
        return sum(self.delete(key) for key in keys)

    def _many(self, cmd: BpfCmd, pairs: Sequence[tuple[bytes, bytes]], phase: Phase, flags: int) -> None:
        if not pairs:
            return
        if cmd not in self._without_batch:
            keys = b"".join(key for key, _ in pairs)
            values = b"".join(value for _, value in pairs)
            attr = MapBatch(0, 0, address(keys), address(values), len(pairs), self.fd.fileno(), flags)
            result = call(cmd, attr)
            if result >= 0:
                return
            if -result not in _NO_BATCH:
                done = f"after {attr.count} of {len(pairs)} elements"
                raise self.failure(-result, phase, done)
            # EINVAL also means a bad flag: then the single updates say so, and batches stay allowed.
            if -result != errno.EINVAL:
                self._without_batch.add(cmd)
        for key, value in pairs:
            self.update(key, value, flags)
