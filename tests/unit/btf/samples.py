"""Types that reach every kind."""

from __future__ import annotations

from pyebpf import btf


def every_kind() -> list[btf.Type]:
    """Roots that reach each kind of type, all of them acceptable to the kernel."""
    node = btf.Struct("node", 24)
    node.members = (
        btf.Member("next", btf.Ptr(btf.TypeTag("user", node)), 0),
        btf.Member("flags", btf.U32, 64, 3),
        btf.Member("rest", btf.U32, 67, 29),
        btf.Member("shape", btf.Union("", 8, (btf.Member("a", btf.U64, 0), btf.Member("b", btf.S8, 0))), 128),
    )
    node.tags = (btf.Tag("checked"), btf.Tag("first", 0))
    qualified = btf.Const(btf.Volatile(btf.Restrict(btf.Ptr(btf.Fwd("elsewhere")))))
    colour = btf.Enum("colour", 4, (btf.Enumerator("RED", 0), btf.Enumerator("NONE", -1)), True)
    wide = btf.Enum64("wide", 8, (btf.Enumerator("HUGE", 1 << 40),))
    params = btf.Param("node", btf.Ptr(node)), btf.Param("", None)
    proto = btf.FuncProto(btf.Float("double", 8), params[:1])
    func = btf.Func("visit", proto, btf.FuncLinkage.GLOBAL, (btf.Tag("arg:nonnull", 0),))
    variable = btf.Var("state", btf.Array(btf.Typedef("colour_t", colour), 3))
    section = btf.Datasec(".data", 16, (btf.Placed(variable, 0, 12),))
    return [*btf.BASE_TYPES, node, qualified, wide, btf.Ptr(btf.FuncProto(None, params)), func, section]
