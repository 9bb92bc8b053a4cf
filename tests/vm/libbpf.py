"""libbpf through ctypes: what C programs load objects with."""

from __future__ import annotations

import contextlib
import ctypes
import functools
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Final, Self

NAME: Final = "libbpf.so.1"


@functools.cache
def library() -> ctypes.CDLL:
    """The shared library, with the functions that are used here declared. Raises ``OSError`` where there is none."""
    lib = ctypes.CDLL(NAME, use_errno=True)
    pointer, text, number = ctypes.c_void_p, ctypes.c_char_p, ctypes.c_int
    for name, result, arguments in (
        ("bpf_object__open", pointer, (text,)),
        ("bpf_object__load", number, (pointer,)),
        ("bpf_object__close", None, (pointer,)),
        ("bpf_object__find_program_by_name", pointer, (pointer, text)),
        ("bpf_object__find_map_fd_by_name", number, (pointer, text)),
        ("bpf_program__attach", pointer, (pointer,)),
        ("bpf_link__destroy", number, (pointer,)),
        ("bpf_map_lookup_elem", number, (number, pointer, pointer)),
        ("bpf_map_get_next_key", number, (number, pointer, pointer)),
    ):
        function = getattr(lib, name)
        function.restype, function.argtypes = result, arguments
    return lib


class LibbpfObject:
    """An object file that libbpf has loaded. Raises ``AssertionError`` where libbpf refuses it."""

    def __init__(self, path: Path) -> None:
        self._lib = library()
        self._object = self._lib.bpf_object__open(str(path).encode())
        assert self._object, f"libbpf cannot open {path}: errno {ctypes.get_errno()}"
        error = self._lib.bpf_object__load(self._object)
        assert error == 0, f"libbpf cannot load {path}: {error}"

    @contextlib.contextmanager
    def attached(self, name: str) -> Iterator[None]:
        """The program attached where its section says, while the block runs."""
        program = self._lib.bpf_object__find_program_by_name(self._object, name.encode())
        assert program, f"no program {name}"
        link = self._lib.bpf_program__attach(program)
        assert link, f"libbpf cannot attach {name}: errno {ctypes.get_errno()}"
        try:
            yield
        finally:
            self._lib.bpf_link__destroy(link)

    def number(self, map_name: str, key: int) -> int:
        """The i64 under a u32."""
        return int.from_bytes(self.value(map_name, key.to_bytes(4, "little"), 8), "little", signed=True)

    def value(self, map_name: str, key: bytes, size: int) -> bytes:
        """The ``size`` bytes under ``key``."""
        fd = self._fd(map_name)
        value = ctypes.create_string_buffer(size)
        assert self._lib.bpf_map_lookup_elem(fd, key, value) == 0, f"{map_name} has no {key!r}"
        return value.raw

    def items(self, map_name: str, key_size: int, value_size: int) -> Iterator[tuple[bytes, bytes]]:
        """All keys and values of a hash map."""
        fd = self._fd(map_name)
        before: ctypes.Array[ctypes.c_char] | None = None
        following = ctypes.create_string_buffer(key_size)
        while self._lib.bpf_map_get_next_key(fd, before, following) == 0:
            yield following.raw, self.value(map_name, following.raw, value_size)
            before, following = following, ctypes.create_string_buffer(key_size)

    def _fd(self, map_name: str) -> int:
        fd: int = self._lib.bpf_object__find_map_fd_by_name(self._object, map_name.encode())
        assert fd >= 0, f"no map {map_name}"
        return fd

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._lib.bpf_object__close(self._object)
