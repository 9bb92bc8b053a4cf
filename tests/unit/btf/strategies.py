"""Random layouts for hypothesis."""

from __future__ import annotations

from hypothesis import strategies as st

from pyebpf import layout as lay

_INTS = [lay.U8, lay.U16, lay.U32, lay.U64, lay.I8, lay.I16, lay.I32, lay.I64, lay.BE16, lay.BE32, lay.LE64]
_NAMES = st.from_regex(r"[a-z_][a-z0-9_]{0,6}", fullmatch=True)


def _structs(parts: st.SearchStrategy[lay.Layout]) -> st.SearchStrategy[lay.StructType]:
    members = st.dictionaries(_NAMES, parts, min_size=1, max_size=5)
    return st.builds(
        lambda name, fields, packed, union: lay.struct_type(
            name, list(fields.items()), packed=packed, union=union
        ),
        _NAMES,
        members,
        st.booleans(),
        st.booleans(),
    )


def _grow(parts: st.SearchStrategy[lay.Layout]) -> st.SearchStrategy[lay.Layout]:
    return _structs(parts) | st.builds(lay.ArrayType, parts, st.integers(1, 5))


def layouts() -> st.SearchStrategy[lay.Layout]:
    """Any layout."""
    leaves = st.sampled_from(_INTS) | st.builds(lay.BytesType, st.integers(1, 20))
    return st.recursive(leaves, _grow, max_leaves=8)


def struct_layouts() -> st.SearchStrategy[lay.StructType]:
    """Structs and unions of any layouts."""
    return _structs(layouts())
