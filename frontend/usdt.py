"""What programs on USDT probes ask the loader's record of their place for."""

from __future__ import annotations

from pyebpf.diagnostics import Span
from pyebpf.frontend import tree
from pyebpf.frontend.session import Context
from pyebpf.frontend.types import U64, Origin, Ref
from pyebpf.uapi.usdt import RECORD


def record(context: tree.Expr, span: Span) -> tree.UsdtRecord:
    """The record of the place where the program with this context argument runs."""
    return tree.UsdtRecord(context=context, type=Ref(RECORD, Origin.MAP_VALUE), span=span)


def cookie(context: Context, called: tree.HelperCall) -> tree.Expr:
    """What the user gave, for a call of ``get_attach_cookie``: the kernel's cookie is the number of the record here."""
    context.raises(tree.Exc.KEY)
    return tree.UsdtCookie(record=record(called.args[0], called.span), type=U64, span=called.span)
