"""Names in the kernel's type information: functions, raw tracepoints, iterators, LSM hooks."""

from __future__ import annotations

import functools

from pyebpf.hints import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Final


RAW_TRACEPOINT: Final = "btf_trace_"  # typedefs
ITERATOR: Final = "bpf_iter_"  # functions
LSM_HOOK: Final = "bpf_lsm_"  # functions


@functools.cache
def btf_functions() -> dict[str, int]:
    """The functions in the kernel's BTF with their ids. Raises ``ObjectError`` if it has none."""
    return _named("FUNC")


@functools.cache
def btf_typedefs() -> dict[str, int]:
    """The typedefs in the kernel's BTF with their ids. Raises ``ObjectError`` if it has none."""
    return _named("TYPEDEF")


def is_function(name: str) -> bool:
    """Whether the kernel's types have a function of this name, without a look at all the others."""
    from pyebpf.btf.types import BtfError, Kind
    from pyebpf.runtime.errors import ObjectError
    from pyebpf.runtime.kernel_btf import vmlinux

    try:
        return bool(vmlinux().ids(name, Kind.FUNC))
    except (ObjectError, BtfError):
        return False


def _named(kind: str) -> dict[str, int]:
    from pyebpf.btf import Kind
    from pyebpf.runtime.kernel_btf import vmlinux

    return vmlinux().first_ids(Kind[kind])


@functools.cache
def targets(prefix: str) -> dict[str, int]:
    """What programs are attached to by a name that the kernel puts ``prefix`` (one of those above) before, with BTF ids.

    Functions that are called so and are something else, such as ``bpf_iter_task_new`` and ``bpf_lsm_verify_prog``, are
    left out. Raises ``ObjectError`` if the kernel has no BTF.
    """
    names = btf_typedefs() if prefix == RAW_TRACEPOINT else btf_functions()
    found = {name.removeprefix(prefix): number for name, number in names.items() if name.startswith(prefix)}
    if prefix == ITERATOR:
        return {name: number for name, number in found.items() if _is_iterator(number)}
    if prefix == LSM_HOOK:
        hooks = _lsm_hooks()
        return {name: number for name, number in found.items() if not hooks or name in hooks}
    return found


def _is_iterator(number: int) -> bool:
    """Whether a function has the form of all iterators: ``int f(struct bpf_iter_meta *, …)``."""
    from pyebpf import btf
    from pyebpf.runtime.kernel_btf import vmlinux

    found = vmlinux().type(number)
    if (
        not isinstance(found, btf.Func)
        or not found.proto.params
        or not isinstance(found.proto.result, btf.Int)
    ):
        return False
    first = found.proto.params[0].type
    return isinstance(first, btf.Ptr) and btf.name_of(btf.skip_modifiers(first.target)) == "bpf_iter_meta"


def _lsm_hooks() -> frozenset[str]:
    """The names of all hooks: the members of the union of what security modules implement."""
    from pyebpf import btf
    from pyebpf.runtime.kernel_btf import vmlinux

    found = vmlinux().find("security_list_options", btf.Kind.UNION)
    return frozenset(m.name for m in found.members) if isinstance(found, btf.Union) else frozenset()
