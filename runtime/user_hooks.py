"""Where programs can be attached in a file of user space: its functions, and the places that it has marked itself (USDT)."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator

from pyebpf.runtime.availability import Way
from pyebpf.runtime.binaries import find_binary
from pyebpf.runtime.elf_symbols import open_binary
from pyebpf.runtime.hooks import Hook, HookArgument, HookKind, Refusal, decided, matching
from pyebpf.runtime.usdt_notes import UnknownArg, UsdtSpec, usdt_probes

Path = str | os.PathLike[str]


def user_hooks(binary: Path, pattern: str) -> list[Hook]:
    """The hooks of ``binary``, a path or the name of a library or command, that ``pattern`` matches: functions, then probes
    (``python:gc__*`` or ``gc__*``), by name.

    Raises ``TargetError`` if there is no such file, ``BpfError`` if it is no ELF file.
    """
    path = find_binary(binary)
    functions = _functions(path)
    chosen = [_function(name, functions[name]) for name in sorted(matching(pattern, functions))]
    return [*chosen, *_probes(path, pattern)]


def user_hook_names(binary: Path) -> list[str]:
    """What they are called."""
    path = find_binary(binary)
    probes = usdt_probes(path)
    return [*_functions(path), *(s.name for s in probes), *(f"{s.provider}:{s.name}" for s in probes)]


def _functions(path: str) -> dict[str, bool]:
    """Names of functions, and whether all that is called so only chooses among implementations."""
    found: dict[str, bool] = {}
    for symbol in open_binary(path).symbols:
        found[symbol.name] = symbol.chooser and found.get(symbol.name, True)
    return found


def _function(name: str, chooser: bool) -> Hook:
    against = "it only chooses among implementations when a program starts (IFUNC)" if chooser else ""
    works, refused = decided(dict.fromkeys((Way.UPROBE, Way.URETPROBE, Way.UPROBE_MULTI), against))
    return Hook(HookKind.USER_FUNCTION, name, works, refused, None)


def _probes(path: str, pattern: str) -> Iterator[Hook]:
    probes: dict[str, list[UsdtSpec]] = {}
    for spec in usdt_probes(path):
        probes.setdefault(f"{spec.provider}:{spec.name}", []).append(spec)
    short = frozenset(matching(pattern, {name.partition(":")[2] for name in probes}))
    whole = frozenset(matching(pattern, probes))
    for name, specs in sorted(probes.items()):
        if name in whole or name.partition(":")[2] in short:
            works, refused = decided({Way.USDT: ""})
            # Programs get what all places have.
            least = min(specs, key=lambda spec: len(spec.arguments))
            yield Hook(HookKind.USDT, name, works, (*refused, *_unreadable(specs)), _arguments(least))


def _arguments(spec: UsdtSpec) -> tuple[HookArgument, ...]:
    return tuple(
        HookArgument("", f"{'i' if argument.signed else 'u'}{8 * argument.size}")
        for argument in spec.arguments
    )


def _unreadable(specs: Iterable[UsdtSpec]) -> Iterator[Refusal]:
    found = {
        number: argument.place.text
        for spec in specs
        for number, argument in enumerate(spec.arguments, 1)
        if isinstance(argument.place, UnknownArg)
    }
    for number, text in sorted(found.items()):
        yield Refusal(Way.USDT, f"for argument {number}, where programs cannot read it: {text!r}")
