"""The decorators that make programs of functions: one for each row of the table of program types."""

from __future__ import annotations

import sys
import types
from collections.abc import Callable, Sequence

from pyebpf.declare import ProgramDecl
from pyebpf.hints import Any, Generic, TypeVar, overload
from pyebpf.program import Program, SkSkbProgram, SocketFilter, TcProgram, XdpProgram
from pyebpf.tracing import (
    BtfProgram,
    IterProgram,
    KprobeMultiProgram,
    KprobeProgram,
    KsyscallProgram,
    PerfEventProgram,
    RawTracepointProgram,
    TracepointProgram,
    UprobeMultiProgram,
    UprobeProgram,
    UsdtProgram,
)
from pyebpf.uapi import programs as kinds
from pyebpf.uapi import programs_tracing as kinds_tracing
from pyebpf.uapi.programs import ProgramKind, TargetKind

P = TypeVar("P", bound=Program)
Function = Callable[..., Any]


class ProgramDecorator(Generic[P]):
    """``@bpf.xdp`` or ``@bpf.xdp(on_error=…, name=…)``.

    ``on_error``: the verdict for an error that the program does not handle, instead of the type's own. ``name``: the
    program's name in the kernel and in object files, instead of the function's. ``options``: the keywords of the
    row in ``pyebpf.uapi.programs``, such as ``frags=True`` of XDP.
    """

    def __init__(self, cls: type[P], kind: ProgramKind) -> None:
        self.cls = cls
        self.kind = kind
        self.__doc__ = f"Make the function a {kind.name} program (section {kind.section!r})."

    @overload
    def __call__(self, func: Function, /) -> P: ...
    @overload
    def __call__(
        self, func: None = ..., /, *, on_error: int | None = ..., name: str | None = ..., **options: bool
    ) -> Callable[[Function], P]: ...
    def __call__(self, func: Function | None = None, /, **keywords: Any) -> P | Callable[[Function], P]:
        decorate = self._decorator("", keywords)
        return decorate if func is None else decorate(func)

    def _decorator(self, target: str, keywords: dict[str, Any]) -> Callable[[Function], P]:
        """What makes programs on ``target``, with what the keywords say."""
        on_error: int | None = keywords.pop("on_error", None)
        name: str | None = keywords.pop("name", None)
        kind = self.kind
        for keyword, wanted in keywords.items():
            if not any(option.keyword == keyword for option in self.kind.options):
                raise TypeError(f"@bpf.{self.kind.name} has no option {keyword!r}")
            if wanted:
                kind = kind.with_option(keyword)

        def decorate(inner: Function) -> P:
            if not isinstance(inner, types.FunctionType):
                raise TypeError(f"@bpf.{self.kind.name} decorates a function, not {type(inner).__name__}")
            placed = kind.at(target) if target else kind
            decl = ProgramDecl(inner, placed, name or inner.__name__, on_error, int(kind.load_flags), target)
            if "IPython" in sys.modules:
                from pyebpf import cells

                cells.declared(decl)
            return self.cls(decl)

        return decorate

    def __repr__(self) -> str:
        return f"bpf.{self.kind.name}"


class TracingDecorator(ProgramDecorator[P]):
    """``@bpf.kprobe("vfs_read")``: the target stands first; without one (``@bpf.kprobe``) it is given when the program is
    attached. Keywords as for other programs; ``sleepable=True`` where the kind has it.

    Raises ``ValueError`` for what cannot be a target.
    """

    @overload  # type: ignore[override]  # the first argument may be a target
    def __call__(self, func: Function, /) -> P: ...
    @overload
    def __call__(
        self, /, *target: str, on_error: int | None = ..., name: str | None = ..., **options: bool
    ) -> Callable[[Function], P]: ...
    def __call__(self, /, *args: Any, **keywords: Any) -> Any:
        if len(args) == 1 and callable(args[0]):
            return self._decorator("", keywords)(args[0])
        if not all(isinstance(part, str) for part in args):
            raise TypeError(f"@bpf.{self.kind.name} takes {self.kind.target.value}, as text")
        return self._decorator(target_text(self.kind, args) if args else "", keywords)


def target_text(kind: ProgramKind, parts: Sequence[str]) -> str:
    """A target as sections name it: ``vfs_read``, ``sched/sched_switch``, ``/bin/bash:readline``.

    Raises ``ValueError`` for what cannot be a target of the kind.
    """
    match kind.target:
        case TargetKind.TRACEPOINT:
            whole = "/".join(parts).replace(":", "/")
            category, _, event = whole.partition("/")
            good = _is_word(category, "-") and _is_word(event, "-")
        case TargetKind.USER_FUNCTION:
            whole = ":".join(parts)
            binary, _, function = whole.partition(":")
            good = bool(binary and function) and "\n" not in function
        case TargetKind.USDT:
            whole = ":".join(parts)
            binary, *names = whole.split(":")
            good = bool(binary) and len(names) == 2 and all(name.split() == [name] for name in names)
        case TargetKind.FUNCTION if "multi" in kind.name or "session" in kind.name:
            whole = "".join(parts)
            good = len(parts) == 1 and _is_word(whole, ".*?")
        case _:
            whole = "".join(parts)
            place, plus, offset = whole.partition("+")
            module, colon, function = place.rpartition(":")
            good = len(parts) == 1 and _is_word(function, ".")
            good = good and (not colon or _is_word(module)) and (not plus or _is_word(offset))
    if not good:
        raise ValueError(f"@bpf.{kind.name} takes {kind.target.value}, not {', '.join(map(repr, parts))}")
    return whole


def _is_word(text: str, others: str = "") -> bool:
    """Whether ``text`` is of letters, digits, underscores and the ``others``; it is not empty."""
    return text != "" and all(sign.isalnum() or sign == "_" or sign in others for sign in text)


socket_filter = ProgramDecorator(SocketFilter, kinds.SOCKET_FILTER)
xdp = ProgramDecorator(XdpProgram, kinds.XDP)
tc = ProgramDecorator(TcProgram, kinds.TC)
tc_ingress = ProgramDecorator(TcProgram, kinds.TC_INGRESS)
tc_egress = ProgramDecorator(TcProgram, kinds.TC_EGRESS)
action = ProgramDecorator(Program, kinds.ACTION)
sk_skb_stream_parser = ProgramDecorator(SkSkbProgram, kinds.SK_SKB_STREAM_PARSER)
sk_skb_stream_verdict = ProgramDecorator(SkSkbProgram, kinds.SK_SKB_STREAM_VERDICT)
sk_skb_verdict = ProgramDecorator(SkSkbProgram, kinds.SK_SKB_VERDICT)
kprobe = TracingDecorator(KprobeProgram, kinds_tracing.KPROBE)
kretprobe = TracingDecorator(KprobeProgram, kinds_tracing.KRETPROBE)
ksyscall = TracingDecorator(KsyscallProgram, kinds_tracing.KSYSCALL)
kretsyscall = TracingDecorator(KsyscallProgram, kinds_tracing.KRETSYSCALL)
kprobe_multi = TracingDecorator(KprobeMultiProgram, kinds_tracing.KPROBE_MULTI)
kretprobe_multi = TracingDecorator(KprobeMultiProgram, kinds_tracing.KRETPROBE_MULTI)
kprobe_session = TracingDecorator(KprobeMultiProgram, kinds_tracing.KPROBE_SESSION)
uprobe = TracingDecorator(UprobeProgram, kinds_tracing.UPROBE)
uretprobe = TracingDecorator(UprobeProgram, kinds_tracing.URETPROBE)
uprobe_multi = TracingDecorator(UprobeMultiProgram, kinds_tracing.UPROBE_MULTI)
uretprobe_multi = TracingDecorator(UprobeMultiProgram, kinds_tracing.URETPROBE_MULTI)
usdt = TracingDecorator(UsdtProgram, kinds_tracing.USDT)
tracepoint = TracingDecorator(TracepointProgram, kinds_tracing.TRACEPOINT)
raw_tracepoint = TracingDecorator(RawTracepointProgram, kinds_tracing.RAW_TRACEPOINT)
raw_tracepoint_writable = TracingDecorator(RawTracepointProgram, kinds_tracing.RAW_TRACEPOINT_WRITABLE)
tp_btf = TracingDecorator(BtfProgram, kinds_tracing.TP_BTF)
fentry = TracingDecorator(BtfProgram, kinds_tracing.FENTRY)
fexit = TracingDecorator(BtfProgram, kinds_tracing.FEXIT)
fmod_ret = TracingDecorator(BtfProgram, kinds_tracing.FMOD_RET)
lsm = TracingDecorator(BtfProgram, kinds_tracing.LSM)
iter = TracingDecorator(IterProgram, kinds_tracing.ITER)
perf_event = ProgramDecorator(PerfEventProgram, kinds_tracing.PERF_EVENT)
