"""Compiled objects on disk, so that a script whose programs have not changed starts without the compiler.

An entry is a file that holds the whole fingerprint (``pyebpf.fingerprint``) beside the object; it is used only if
its fingerprint is the present one, byte for byte, and was written by the same user into a folder that nobody else can
write to. Entries are written aside and renamed, so readers and concurrent writers see whole ones; a damaged entry
counts as none. Where there can be no folder there is no cache.

The folder is that of ``pyebpf.runtime.own_folder``, where the index of the kernel's types lies as well.
"""

from __future__ import annotations

import contextlib
import marshal
import os
import zlib
from collections.abc import Iterable

from pyebpf.declare import GlobalDecl, MapDecl, ProgramDecl
from pyebpf.fingerprint import Fingerprint, Uncacheable, fingerprint
from pyebpf.hints import TYPE_CHECKING
from pyebpf.object import ObjectSpec, Prepared
from pyebpf.plain import NotPlain, Plain, decode, encode
from pyebpf.ready import Ready
from pyebpf.records import dataclass
from pyebpf.runtime.errors import ObjectError
from pyebpf.runtime.own_folder import (
    TYPES_SUFFIX,
    entries,
    evict,
    folder,
    private,
    read_own,
    refusal,
    write_own,
)

if TYPE_CHECKING:
    from pyebpf.driver import Compiled
    from pyebpf.target import Target

__all__ = ["ENTRIES", "MAGIC", "Usage", "clear", "find", "folder", "key_of", "store", "usage"]

MAGIC = b"pyebpf object 3\n"
ENTRIES = 256
"""How many entries the folder holds at most; the oldest go first."""
_SUFFIX = ".object"


@dataclass(slots=True)
class Usage:
    """How much the cache holds. ``folder`` is None where there is no cache; ``refused``: why it is not used."""

    folder: str | None
    entries: int
    bytes: int
    refused: str | None = None


def key_of(program: ProgramDecl, target: Target) -> Fingerprint | None:
    """The key of a program as it is now; None where there is no cache or the program cannot be cached."""
    if folder() is None:
        return None
    try:
        return fingerprint(program, target)
    except (Uncacheable, RecursionError):
        return None


def find(key: Fingerprint) -> Ready | None:
    """The compiled object of a key, if there is one. Its maps and variables are named and placed as compiling does."""
    home = folder()
    if home is None or not private(home):
        return None
    text = key.text.encode("utf-8", "surrogatepass")
    data = read_own(os.path.join(home, _name(text)))
    if data is None or not data.startswith(MAGIC) or len(data) < len(MAGIC) + 4:
        return None
    body = memoryview(data)[len(MAGIC) + 4 :]
    if zlib.crc32(body).to_bytes(4, "little") != data[len(MAGIC) : len(MAGIC) + 4]:
        return None
    try:
        stated, maps, variables, prepared, whole = marshal.loads(body)
        if stated != text:
            return None
        return _ready(key, maps, variables, prepared, whole)
    except (NotPlain, EOFError, ValueError, TypeError, IndexError):
        return None


def _ready(
    key: Fingerprint,
    maps: Iterable[tuple[int, str, Plain]],
    variables: Iterable[tuple[int, str, str]],
    prepared: Plain,
    whole: bytes,
) -> Ready | None:
    shared = {name: decode(table, key.structs, Prepared) for _, name, table in maps}
    ready = Ready(
        lambda: decode(marshal.loads(whole), key.structs, ObjectSpec),
        [],
        [],
        decode(prepared, key.structs, Prepared),
        shared,
    )
    for number, name, _ in maps:
        found = key.declarations[number]
        if not isinstance(found, MapDecl):
            return None
        found.name = name
        ready.maps.append(found)
    for number, name, section in variables:
        variable = key.declarations[number]
        if not isinstance(variable, GlobalDecl):
            return None
        variable.name, variable.section = name, section
        ready.globals.append(variable)
    return ready


def store(key: Fingerprint, compiled: Compiled, ready: Ready | None = None) -> None:
    """Keep a compiled object under the key from before its compilation; do nothing where that is not possible.

    ``ready``: what was made of it, which is prepared for that."""
    home = folder()
    if home is None or not _complete(key, compiled):
        return
    numbers = {id(declared): number for number, declared in enumerate(key.declarations)}
    text = key.text.encode("utf-8", "surrogatepass")
    try:
        ready = ready or Ready.of(compiled)
        ready.prepare()
        shared = {name: _encoded(one, key) for name, one in ready.shared.items()}
        maps = [(numbers[id(m)], str(m.name), shared[str(m.name)]) for m in ready.maps]
        variables = [(numbers[id(g)], str(g.name), str(g.section)) for g in compiled.unit.globals]
        whole = marshal.dumps(encode(compiled.object, key.structs))
        body = marshal.dumps((text, maps, variables, _encoded(ready.prepared, key), whole))
    except (NotPlain, KeyError, ObjectError, RecursionError):
        return
    with contextlib.suppress(OSError):
        os.makedirs(home, mode=0o700, exist_ok=True)
        if private(home):
            write_own(home, _name(text), MAGIC + zlib.crc32(body).to_bytes(4, "little") + body)
            evict(home, _SUFFIX, ENTRIES)


def _encoded(prepared: Prepared | None, key: Fingerprint) -> Plain:
    from pyebpf.runtime.prepare import without_sources

    return None if prepared is None else encode(without_sources(prepared), key.structs)


def _complete(key: Fingerprint, compiled: Compiled) -> bool:
    """Whether the walk saw what the compiler saw: every function, and the same text of every file."""
    import linecache

    functions = [*compiled.unit.programs, *compiled.unit.functions]
    return all(key.covers(f.span.file, f.span.line) for f in functions) and all(
        "".join(linecache.getlines(name)).rstrip("\n") == text.rstrip("\n")
        for name, text in key.files.items()
    )


def usage() -> Usage:
    """What the cache holds now."""
    home = folder()
    sizes = [size for _, size, _ in _all(home)]
    return Usage(home, len(sizes), sum(sizes), None if home is None else refusal(home))


def clear() -> int:
    """Remove every entry, and what is kept of kernels; how many there were."""
    found = _all(folder())
    for _, _, path in found:
        with contextlib.suppress(OSError):
            os.unlink(path)
    return len(found)


def _all(home: str | None) -> list[tuple[int, int, str]]:
    if home is None or not private(home):
        return []
    return [*entries(home, _SUFFIX), *entries(home, TYPES_SUFFIX)]


def _name(text: bytes) -> str:
    """The file of a fingerprint. Two that share a file push each other out; neither is taken for the other."""
    return f"{zlib.crc32(text):08x}{zlib.adler32(text):08x}{_SUFFIX}"
