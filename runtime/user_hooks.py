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
    functions = [_function(name) for name in sorted(matching(pattern, _functions(path)))]
    return [*functions, *_probes(path, pattern)]


def user_hook_names(binary: Path) -> list[str]:
    """What they are called."""
    path = find_binary(binary)
    return [*_functions(path), *(spec.name for spec in usdt_probes(path))]


def _functions(path: str) -> Iterable[str]:
    return dict.fromkeys(symbol.name for symbol in open_binary(path).symbols)


def _function(name: str) -> Hook:
    works, refused = decided({Way.UPROBE: "", Way.URETPROBE: "", Way.UPROBE_MULTI: ""})
    return Hook(HookKind.USER_FUNCTION, name, works, refused, None)


def _probes(path: str, pattern: str) -> Iterator[Hook]:
    probes: dict[str, UsdtSpec] = {}
    for spec in usdt_probes(path):
        probes.setdefault(f"{spec.provider}:{spec.name}", spec)
    short = frozenset(matching(pattern, {spec.name for spec in probes.values()}))
    whole = frozenset(matching(pattern, probes))
    for name, spec in sorted(probes.items()):
        if name in whole or spec.name in short:
            works, refused = decided({Way.USDT: ""})
            yield Hook(HookKind.USDT, name, works, (*refused, *_unreadable(spec)), _arguments(spec))


def _arguments(spec: UsdtSpec) -> tuple[HookArgument, ...]:
    return tuple(
        HookArgument("", f"{'i' if argument.signed else 'u'}{8 * argument.size}")
        for argument in spec.arguments
    )


def _unreadable(spec: UsdtSpec) -> Iterator[Refusal]:
    for number, argument in enumerate(spec.arguments, 1):
        if isinstance(argument.place, UnknownArg):
            reason = f"with argument {number} or more: programs cannot read {argument.place.text!r}"
            yield Refusal(Way.USDT, reason)
            return
