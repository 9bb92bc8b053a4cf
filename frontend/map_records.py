"""Records that go into ring buffers and perf event arrays, and what maps are called in messages."""

from __future__ import annotations

from pyebpf.codes import Code
from pyebpf.declare import MapDecl
from pyebpf.diagnostics import Span
from pyebpf.frontend import conversions, tree
from pyebpf.frontend.session import Context
from pyebpf.frontend.types import Ref
from pyebpf.frontend.values import Operand
from pyebpf.layout import Layout
from pyebpf.uapi.constants import MapType


def name_of(declaration: MapDecl) -> str:
    """The map type as users write it, with its article."""
    name = _NAMES.get(declaration.type, declaration.type.name)
    return f"{'an' if name[0] in 'AEIOU' else 'a'} `{name}`"


_NAMES = {
    MapType.HASH: "HashMap",
    MapType.ARRAY: "ArrayMap",
    MapType.PERCPU_HASH: "PerCpuHash",
    MapType.PERCPU_ARRAY: "PerCpuArray",
    MapType.LRU_HASH: "LruHashMap",
    MapType.LRU_PERCPU_HASH: "LruPerCpuHash",
    MapType.LPM_TRIE: "LpmTrie",
    MapType.PROG_ARRAY: "ProgArray",
    MapType.SOCKMAP: "SockMap",
    MapType.RINGBUF: "RingBuf",
    MapType.PERF_EVENT_ARRAY: "PerfEventArray",
    MapType.STACK_TRACE: "StackTrace",
    MapType.QUEUE: "Queue",
    MapType.STACK: "Stack",
}


def record_expr(context: Context, declaration: MapDecl, found: Operand, span: Span) -> tree.Expr:
    """A record as a stream takes it: a struct, an array or bytes, of the stream's type where it says one."""
    value = conversions.runtime(context, found)
    if not isinstance(value.type, Ref):
        raise context.refusal(
            Code.E0604,
            span,
            f"{name_of(declaration)} takes structs, arrays and bytes",
            help="build a struct to hold it",
        )
    check_record(context, declaration, value.type.layout, span)
    return value


def check_record(context: Context, declaration: MapDecl, layout: Layout, span: Span) -> None:
    """Refuse records that are not what a stream was declared with."""
    if declaration.value is not None and layout != declaration.value:
        raise context.refusal(
            Code.E0604,
            span,
            f"the record is {layout.name}, {name_of(declaration)} of {declaration.value.name} takes only these",
        )
