"""Compiled objects on disk, so that a script whose programs have not changed starts without the compiler.

An entry is a file that holds the whole fingerprint (``pyebpf.fingerprint``) beside the object; it is used only if
its fingerprint is the present one, byte for byte, and was written by the same user into a folder that nobody else can
write to. Entries are written aside and renamed, so readers and concurrent writers see whole ones; a damaged entry
counts as none. Where there can be no folder there is no cache.

``PYEBPF_CACHE=0`` switches it off; ``PYEBPF_CACHE_DIR`` names the folder, else it is ``pyebpf`` in
``XDG_CACHE_HOME`` or ``~/.cache``.
"""

from __future__ import annotations

import contextlib
import marshal
import os
import stat
import zlib
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from pyebpf.declare import GlobalDecl, MapDecl, ProgramDecl
from pyebpf.fingerprint import Fingerprint, Uncacheable, fingerprint
from pyebpf.object import ObjectSpec, Prepared
from pyebpf.plain import NotPlain, Plain, decode, encode
from pyebpf.ready import Ready
from pyebpf.records import dataclass
from pyebpf.runtime.errors import ObjectError

if TYPE_CHECKING:
    from pyebpf.driver import Compiled
    from pyebpf.target import Target

MAGIC = b"pyebpf object 2\n"
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


def folder() -> str | None:
    """The folder that the environment asks for, or None where the cache is switched off."""
    if os.environ.get("PYEBPF_CACHE") in ("0", ""):
        return None
    stated = os.environ.get("PYEBPF_CACHE_DIR")
    if stated is not None:
        return stated or None
    base = os.environ.get("XDG_CACHE_HOME", "")
    base = base if os.path.isabs(base) else os.path.expanduser("~/.cache")
    return os.path.join(base, "pyebpf") if os.path.isabs(base) else None


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
    if home is None or not _private(home):
        return None
    text = key.text.encode("utf-8", "surrogatepass")
    data = _read(os.path.join(home, _name(text)))
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
    except (NotPlain, KeyError, ObjectError):
        return
    with contextlib.suppress(OSError):
        os.makedirs(home, mode=0o700, exist_ok=True)
        if _private(home):
            _write(home, _name(text), MAGIC + zlib.crc32(body).to_bytes(4, "little") + body)
            _evict(home)


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
    sizes = [size for _, size, _ in _entries(home)] if home is not None and _private(home) else []
    return Usage(home, len(sizes), sum(sizes), None if home is None else _refusal(home))


def clear() -> int:
    """Remove every entry; how many there were."""
    home = folder()
    found: Sequence[tuple[int, int, str]] = _entries(home) if home is not None and _private(home) else []
    for _, _, path in found:
        with contextlib.suppress(OSError):
            os.unlink(path)
    return len(found)


def _name(text: bytes) -> str:
    """The file of a fingerprint. Two that share a file push each other out; neither is taken for the other."""
    return f"{zlib.crc32(text):08x}{zlib.adler32(text):08x}{_SUFFIX}"


def _private(home: str) -> bool:
    """Whether the folder is there, belongs to this user and is closed to all others."""
    try:
        state = os.stat(home)
    except OSError:
        return False
    return stat.S_ISDIR(state.st_mode) and _own(state) and not stat.S_IMODE(state.st_mode) & 0o077


def _refusal(home: str) -> str | None:
    """Why a folder that is there is not used, and what mends it; None for a good one and for none."""
    import shlex

    try:
        state = os.stat(home)
    except FileNotFoundError:
        return None
    except OSError as error:
        return f"{home} cannot be looked at: {error.strerror}; name another folder with PYEBPF_CACHE_DIR"
    if not stat.S_ISDIR(state.st_mode):
        return f"{home} is not a folder; remove it, or name another folder with PYEBPF_CACHE_DIR"
    if not _own(state):
        return f"{home} belongs to user {state.st_uid}; name a folder of your own with PYEBPF_CACHE_DIR"
    if not _private(home):
        mode = stat.S_IMODE(state.st_mode)
        return (
            f"{home} is open to other users (mode {mode:04o}); close it with `chmod 700 {shlex.quote(home)}`"
        )
    return None


def _own(state: os.stat_result) -> bool:
    return not hasattr(os, "geteuid") or state.st_uid == os.geteuid()


def _read(path: str) -> bytes | None:
    try:
        file = os.open(path, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0))
    except OSError:
        return None
    with open(file, "rb") as opened:
        state = os.fstat(file)
        return opened.read() if stat.S_ISREG(state.st_mode) and _own(state) else None


def _write(home: str, name: str, data: bytes) -> None:
    aside = os.path.join(home, f"{name}.{os.getpid()}.{os.urandom(4).hex()}")
    file = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_CLOEXEC", 0), 0o600)
    try:
        with open(file, "wb") as opened:
            opened.write(data)
        os.replace(aside, os.path.join(home, name))
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(aside)
        raise


def _entries(home: str) -> list[tuple[int, int, str]]:
    """Time, size and path of all files of ours, the oldest first; also those that a killed writer left aside."""
    found = []
    with contextlib.suppress(OSError), os.scandir(home) as entries:
        for entry in entries:
            with contextlib.suppress(OSError):
                if _SUFFIX in entry.name and entry.is_file(follow_symlinks=False):
                    state = entry.stat(follow_symlinks=False)
                    found.append((state.st_mtime_ns, state.st_size, entry.path))
    return sorted(found)


def _evict(home: str) -> None:
    found = _entries(home)
    for _, _, path in found[: max(0, len(found) - ENTRIES)]:
        with contextlib.suppress(OSError):
            os.unlink(path)
