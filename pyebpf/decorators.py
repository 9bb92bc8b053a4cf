"""The decorators that make programs of functions: one for each row of the table of program types."""

from __future__ import annotations

import sys
import types
from collections.abc import Callable
from typing import Any, Generic, TypeVar, overload

from pyebpf.declare import ProgramDecl
from pyebpf.program import Program, SkSkbProgram, SocketFilter, TcProgram, XdpProgram
from pyebpf.uapi import programs as kinds
from pyebpf.uapi.programs import ProgramKind

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
            decl = ProgramDecl(inner, kind, name or inner.__name__, on_error, int(kind.load_flags))
            if "IPython" in sys.modules:
                from pyebpf import cells

                cells.declared(decl)
            return self.cls(decl)

        return decorate if func is None else decorate(func)

    def __repr__(self) -> str:
        return f"bpf.{self.kind.name}"


socket_filter = ProgramDecorator(SocketFilter, kinds.SOCKET_FILTER)
xdp = ProgramDecorator(XdpProgram, kinds.XDP)
tc = ProgramDecorator(TcProgram, kinds.TC)
tc_ingress = ProgramDecorator(TcProgram, kinds.TC_INGRESS)
tc_egress = ProgramDecorator(TcProgram, kinds.TC_EGRESS)
action = ProgramDecorator(Program, kinds.ACTION)
sk_skb_stream_parser = ProgramDecorator(SkSkbProgram, kinds.SK_SKB_STREAM_PARSER)
sk_skb_stream_verdict = ProgramDecorator(SkSkbProgram, kinds.SK_SKB_STREAM_VERDICT)
sk_skb_verdict = ProgramDecorator(SkSkbProgram, kinds.SK_SKB_VERDICT)
