"""Where programs can be attached in this kernel: what a name or pattern matches, in which ways, with which arguments,
and why not in the other ways."""

from __future__ import annotations

import fnmatch
import functools
from collections.abc import Callable, Iterable
from pathlib import Path

from pyebpf import enums
from pyebpf.hints import TYPE_CHECKING
from pyebpf.records import dataclass
from pyebpf.runtime.availability import Way, obstacle
from pyebpf.runtime.errors import BpfError, ObjectError
from pyebpf.runtime.event_format import event_format
from pyebpf.runtime.kernel_config import kernel_config
from pyebpf.runtime.kernel_names import ITERATOR, LSM_HOOK, RAW_TRACEPOINT, btf_functions, targets
from pyebpf.runtime.kernel_symbols import forbidden_functions, kernel_symbols, traceable_functions
from pyebpf.runtime.tracefs import all_events

if TYPE_CHECKING:
    from typing import Final

    from pyebpf import btf

_ON_NOTRACE: Final = "CONFIG_KPROBE_EVENTS_ON_NOTRACE"
_INJECTION: Final = Path("/sys/kernel/debug/error_injection/list")
_SECURITY: Final = "security_"
_SYSCALLS: Final = "syscalls"
_ENTER: Final = "sys_enter_"
_CALLER: Final = "__bpf_trace_"
_MOST_ARGUMENTS: Final = 12  # MAX_BPF_FUNC_ARGS


class HookKind(enums.Enum):
    """What a hook is."""

    FUNCTION = "kernel function"
    TRACEPOINT = "tracepoint"
    RAW_TRACEPOINT = "raw tracepoint"
    ITERATOR = "iterator"
    LSM = "LSM hook"
    SYSCALL = "system call"
    USER_FUNCTION = "function"
    USDT = "USDT probe"


@dataclass(frozen=True, slots=True)
class HookArgument:
    """What a program gets: a name, which may be empty, and a type in the words of C."""

    name: str
    type: str


@dataclass(frozen=True, slots=True)
class Refusal:
    """A way that does not work, and why."""

    way: Way
    reason: str


@dataclass(frozen=True, slots=True)
class Hook:
    """A place for programs. ``ways`` work here, each as section ``way/name``; ``refused`` do not.

    ``arguments`` is ``None`` where the kernel does not tell them; ``result`` is the type that a function returns, empty
    where there is none.
    """

    kind: HookKind
    name: str
    ways: tuple[Way, ...]
    refused: tuple[Refusal, ...]
    arguments: tuple[HookArgument, ...] | None
    result: str = ""


def hooks_for(pattern: str) -> list[Hook]:
    """The hooks that ``pattern`` (``vfs_*``, ``sched:*``, ``openat``) matches, kind by kind, by name.

    What the kernel does not tell this process (tracefs, symbols, type information) is left out.
    """
    return [
        *_sorted(_functions(pattern)),
        *_sorted(_syscalls(pattern)),
        *_sorted(_tracepoints(pattern)),
        *_sorted(_typed(pattern, RAW_TRACEPOINT, _raw_tracepoint)),
        *_sorted(_typed(pattern, LSM_HOOK, _lsm)),
        *_sorted(_typed(pattern, ITERATOR, _iterator)),
    ]


def hook_names() -> list[str]:
    """What hooks are called, as far as the kernel tells this process."""
    typed = (name for prefix in (RAW_TRACEPOINT, LSM_HOOK, ITERATOR) for name in _targets(prefix))
    return list(dict.fromkeys([*_function_names(), *typed, *_syscall_names()]))


def _sorted(hooks: Iterable[Hook]) -> list[Hook]:
    return sorted(hooks, key=lambda hook: hook.name)


def matching(pattern: str, names: Iterable[str]) -> list[str]:
    """The names that are ``pattern``, or match it if it is one."""
    if pattern.translate({ord(sign): None for sign in "*?["}) == pattern:
        return [name for name in names if name == pattern]
    return fnmatch.filter(names, pattern)


def decided(own: dict[Way, str]) -> tuple[tuple[Way, ...], tuple[Refusal, ...]]:
    """Ways that work and ways that do not, from what is against each at this place; then the kernel's own reasons."""
    against = {way: reason or obstacle(way) for way, reason in own.items()}
    works = tuple(way for way, reason in against.items() if not reason)
    return works, tuple(Refusal(way, reason) for way, reason in against.items() if reason)


# ---------------------------------------------------------------- functions and system calls


def _functions(pattern: str) -> list[Hook]:
    standing, traceable = frozenset(_symbols()), traceable_functions()
    return [
        _function(name, name in standing, traceable is None or name in traceable)
        for name in matching(pattern, _function_names())
    ]


def _function_names() -> Iterable[str]:
    # What programs are loaded for by name is listed as a hook of its own kind.
    known = [n for n in _typed_functions() if not n.startswith((ITERATOR, LSM_HOOK))]
    return dict.fromkeys((*_symbols(), *known))


def _symbols() -> list[str]:
    try:
        return kernel_symbols().functions()
    except BpfError:
        return []


def _typed_functions() -> dict[str, int]:
    try:
        return btf_functions()
    except ObjectError:
        return {}


def _targets(prefix: str) -> dict[str, int]:
    try:
        return targets(prefix)
    except ObjectError:
        return {}


def _function(name: str, standing: bool, traceable: bool) -> Hook:
    number = _typed_functions().get(name)
    proto = _proto(number) if number is not None else None
    gone = "" if standing else "it does not stand by itself: it is inlined, or in a module that is not loaded"
    notrace = "" if traceable else "it is marked notrace"
    probe = _untouchable(name, notrace)
    trampoline = gone or _untyped(proto) or notrace
    own = {
        Way.KPROBE: gone or probe,
        Way.KRETPROBE: gone or probe,
        Way.KPROBE_MULTI: gone or notrace,
        Way.FENTRY: trampoline,
        Way.FEXIT: trampoline,
        Way.FMOD_RET: trampoline or _unchangeable(name),
    }
    works, refused = decided(own)
    return Hook(HookKind.FUNCTION, name, works, refused, _arguments(proto), _result(proto))


def _untouchable(name: str, notrace: str) -> str:
    """Why there can be no kprobe in a function; empty if there can."""
    if name in forbidden_functions():
        return "the kernel forbids probes in it (blacklist)"
    if notrace and (kernel_config() or {}).get(_ON_NOTRACE) != "y":
        return f"{notrace}, and this kernel was built without {_ON_NOTRACE}"
    return ""


def _untyped(proto: btf.FuncProto | None) -> str:
    """Why a trampoline cannot pass a function's arguments on; empty if it can."""
    if proto is None:
        return "the kernel's type information does not have it"
    if proto.params and proto.params[-1].type is None:
        return "it takes any number of arguments"
    if len(proto.params) > _MOST_ARGUMENTS:
        return f"it takes {len(proto.params)} arguments, more than {_MOST_ARGUMENTS}"
    return ""


def _unchangeable(name: str) -> str:
    """Why a function's result cannot be replaced; empty if it can."""
    if name.startswith(_SECURITY) or name in injectable_functions():
        return ""
    return "its result may not be changed: it is no security_ function and not made for error injection"


@functools.cache
def injectable_functions() -> frozenset[str]:
    """The functions whose result may be replaced, as far as the kernel tells (debugfs)."""
    try:
        lines = _INJECTION.read_text().splitlines()
    except OSError:
        return frozenset()
    return frozenset(line.split()[0] for line in lines if line.strip())


def _syscalls(pattern: str) -> list[Hook]:
    return [_syscall(name) for name in matching(pattern, _syscall_names())]


def _syscall_names() -> list[str]:
    return [
        name.removeprefix(_ENTER)
        for category, name in _events()
        if category == _SYSCALLS and name.startswith(_ENTER)
    ]


def _syscall(name: str) -> Hook:
    works, refused = decided({Way.TRACEPOINT: "", Way.KSYSCALL: ""})
    arguments = _fields(_SYSCALLS, f"{_ENTER}{name}")
    # The first field is the number of the system call.
    return Hook(HookKind.SYSCALL, name, works, refused, arguments[1:] if arguments else None, "long")


# ---------------------------------------------------------------- tracepoints, iterators, LSM hooks


def _events() -> tuple[tuple[str, str], ...]:
    try:
        return all_events()
    except BpfError:
        return ()


def _tracepoints(pattern: str) -> list[Hook]:
    found = []
    names = {f"{category}:{name}": (category, name) for category, name in _events()}
    short = frozenset(matching(pattern, {name for _, name in names.values()}))
    chosen = {*matching(pattern, names), *(whole for whole, (_, name) in names.items() if name in short)}
    for whole in chosen:
        works, refused = decided({Way.TRACEPOINT: ""})
        arguments = _fields(*names[whole])
        found.append(Hook(HookKind.TRACEPOINT, whole, works, refused, arguments))
    return found


def _fields(category: str, name: str) -> tuple[HookArgument, ...] | None:
    try:
        described = event_format(category, name)
    except BpfError:
        return None
    return tuple(
        HookArgument(field.name, f"{field.type}[{field.length or ''}]" if field.length != 0 else field.type)
        for field in described.fields
        if not field.common
    )


def _typed(pattern: str, prefix: str, make: Callable[[str, int], Hook]) -> list[Hook]:
    known = _targets(prefix)
    return [make(name, known[name]) for name in matching(pattern, known)]


def _raw_tracepoint(name: str, number: int) -> Hook:
    works, refused = decided({Way.RAW_TRACEPOINT: "", Way.TP_BTF: ""})
    proto = _proto(number)
    # The typedef has no names of parameters; the function that calls programs has the same ones with names.
    caller = _typed_functions().get(f"{_CALLER}{name}")
    named = _proto(caller) if caller is not None else None
    if named is not None and proto is not None and len(named.params) == len(proto.params):
        proto = named
    # The first parameter is data of the tracepoint itself, which programs do not get.
    return Hook(HookKind.RAW_TRACEPOINT, name, works, refused, (_arguments(proto) or ())[1:])


def _lsm(name: str, number: int) -> Hook:
    proto = _proto(number)
    works, refused = decided({Way.LSM: ""})
    return Hook(HookKind.LSM, name, works, refused, _arguments(proto), _result(proto))


def _iterator(name: str, number: int) -> Hook:
    works, refused = decided({Way.ITER: ""})
    return Hook(HookKind.ITERATOR, name, works, refused, _arguments(_proto(number)))


def _proto(number: int) -> btf.FuncProto | None:
    """The prototype behind a function, or behind a typedef of a pointer to one."""
    from pyebpf import btf
    from pyebpf.runtime.kernel_btf import vmlinux

    found = btf.skip_modifiers(vmlinux().type(number))
    if isinstance(found, btf.Func):
        return found.proto
    if isinstance(found, btf.Ptr):
        found = btf.skip_modifiers(found.target)
    return found if isinstance(found, btf.FuncProto) else None


def _arguments(proto: btf.FuncProto | None) -> tuple[HookArgument, ...] | None:
    from pyebpf.btf import describe

    if proto is None:
        return None
    return tuple(
        HookArgument(p.name, describe(p.type, brief=True) if p.type is not None else "...")
        for p in proto.params
    )


def _result(proto: btf.FuncProto | None) -> str:
    from pyebpf.btf import describe

    return describe(proto.result, brief=True) if proto is not None and proto.result is not None else ""
