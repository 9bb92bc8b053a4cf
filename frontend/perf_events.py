"""Perf event arrays in programs: ``events.output(ctx, record)`` is the helper ``perf_event_output``."""

from __future__ import annotations

from pyebpf.codes import Code
from pyebpf.declare import MapDecl
from pyebpf.frontend import conversions, helpers, tree
from pyebpf.frontend.arguments import arguments
from pyebpf.frontend.arithmetic import constant
from pyebpf.frontend.map_records import record_expr
from pyebpf.frontend.session import Context
from pyebpf.frontend.types import Origin, Ref
from pyebpf.frontend.values import Operand, Static
from pyebpf.hints import Any
from pyebpf.uapi.constants import BPF_F_CURRENT_CPU
from pyebpf.uapi.helpers import helper_by_name


def output(context: Context, declaration: MapDecl, receiver: Static, call: Any) -> Operand:
    """``events.output(ctx, record, flags)``: 0 or a negative error number. A record in the packet is copied first, since
    the helper does not read packets."""
    given = arguments(context, call, ("ctx", "record", "flags"), optional=1, code=Code.E0605)
    span = context.span(call)
    helper = helper_by_name("perf_event_output")
    if helper is None:
        raise context.bug("perf_event_output is missing among the helpers", span)
    helpers.permitted(context, helper, span, "`output` of a `PerfEventArray`")
    record = record_expr(context, declaration, given.values[1], given.spans[1])
    assert isinstance(record.type, Ref)
    layout = record.type.layout
    if record.type.origin is Origin.PACKET:
        record = tree.CopyOf(source=record, type=Ref(layout, Origin.LOCAL), span=record.span)
    flags: tree.Expr = constant(BPF_F_CURRENT_CPU, span)
    if given.present(2):
        # The helper takes them before the record, so there must be nothing to do for them.
        flags = conversions.integer(context, given.values[2], "an integer for the flags")
        if not isinstance(flags, tree.IntConst | tree.GetLocal):
            raise context.refusal(
                Code.E0605,
                given.spans[2],
                "the flags must be a constant or a variable",
                help="assign them to a variable first",
            )
    values = [given.values[0], receiver, flags, record, constant(layout.size, span)]
    places = [given.spans[0], span, given.spans[2] if given.present(2) else span, given.spans[1], span]
    return helpers.call_with(context, helper, values, span, checked=False, spans=places)
