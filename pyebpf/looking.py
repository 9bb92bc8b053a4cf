"""What programs look into memory with that is not theirs: the kernel's and that of users; and questions to the kernel.

All of it works in programs only; the compiler gives it its meaning.
"""

from __future__ import annotations

from pyebpf.declare import Builtin, KernelTypeDecl, UserDecl, declaration_of
from pyebpf.hints import TYPE_CHECKING, Any, Generic, TypeVar, overload
from pyebpf.lang import builtin, in_program, struct
from pyebpf.layout import StructType

T = TypeVar("T")


class User(Generic[T]):
    """``bpf.User[T]``: an address in the memory of the current task, for annotations of parameters.

    ``p.read()`` copies what is there, ``p.field`` reads a field of a struct; what cannot be read is zero, or raises
    ``OSError`` inside ``bpf.checked``. ``bpf.User[bytes]`` is read with ``bpf.str_from_user(p, n)``.
    """

    __bpf__ = UserDecl(None)

    def read(self) -> T:
        """A copy of what is there."""
        raise in_program("User.read")

    if TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any: ...


def kernel_struct(cls: type) -> Any:
    """Declare a struct of the kernel with the fields that a program wants, in any order and of any offset: they are looked
    up by name in the kernel that loads the program.

    A name may have a flavor, ``task_struct___old``: what follows three underscores does not count, so that one program
    can know several shapes of a struct, and ask ``bpf.field_exists`` which one it meets.
    """
    from pyebpf.kernel import KernelType

    made: Any = struct(cls)
    layout = declaration_of(made)
    assert isinstance(layout, StructType)
    return KernelType(cls.__name__, KernelTypeDecl(cls.__name__, layout))


@builtin(Builtin.CAST)
def cast(of: Any, address: Any) -> Any:
    """``address`` (an integer or another address) taken for that of a kernel type."""
    raise in_program("cast")


@builtin(Builtin.CONTAINER_OF)
def container_of(address: Any, of: Any, member: str) -> Any:
    """The struct of type ``of`` whose ``member`` is at ``address``."""
    raise in_program("container_of")


@overload
def read_kernel(of: type[T], address: Any) -> T: ...
@overload
def read_kernel(of: Any, address: Any) -> Any: ...
@builtin(Builtin.READ_KERNEL)
def read_kernel(of: Any, address: Any) -> Any:
    """A copy of a ``of`` (an integer type or a struct of the program) at an address of the kernel; zeros where it cannot be
    read."""
    raise in_program("read_kernel")


@builtin(Builtin.READ_USER)
def read_user(of: Any, address: Any) -> Any:
    """The same at an address of the current task."""
    raise in_program("read_user")


@builtin(Builtin.STR_FROM_KERNEL)
def str_from_kernel(address: Any, n: int = 0) -> bytes:
    """The string at an address of the kernel, ``n`` (constant) bytes at most, NUL included; for an array of characters
    its length is known."""
    raise in_program("str_from_kernel")


@builtin(Builtin.STR_FROM_USER)
def str_from_user(address: Any, n: int = 0) -> bytes:
    """The string at an address of the current task, ``n`` (constant) bytes at most, NUL included."""
    raise in_program("str_from_user")


@builtin(Builtin.FIELD_EXISTS)
def field_exists(of: Any, field: str) -> bool:
    """Whether the kernel's type has the field, such as ``"mm.owner"``."""
    raise in_program("field_exists")


@builtin(Builtin.FIELD_OFFSET)
def field_offset(of: Any, field: str) -> int:
    """Bytes from the start of the kernel's type to the field."""
    raise in_program("field_offset")


@builtin(Builtin.FIELD_SIZE)
def field_size(of: Any, field: str) -> int:
    """Bytes of the field of the kernel's type."""
    raise in_program("field_size")


@builtin(Builtin.TYPE_EXISTS)
def type_exists(of: Any) -> bool:
    """Whether the kernel has the type."""
    raise in_program("type_exists")


@builtin(Builtin.TYPE_SIZE)
def type_size(of: Any) -> int:
    """Bytes of the kernel's type; 0 where it has none."""
    raise in_program("type_size")


@builtin(Builtin.ENUM_VALUE)
def enum_value(of: Any, name: str) -> int:
    """The number that the kernel gives an enumerator."""
    raise in_program("enum_value")


@builtin(Builtin.ENUM_EXISTS)
def enum_exists(of: Any, name: str) -> bool:
    """Whether the kernel's enum has an enumerator of that name."""
    raise in_program("enum_exists")


@overload
def kconfig(name: str, of: type[bool], default: bool = ...) -> bool: ...
@overload
def kconfig(name: str, of: type[int] = ..., default: int = ...) -> int: ...
@builtin(Builtin.KCONFIG)
def kconfig(name: str, of: type = int, default: int = 0) -> int:
    """A value of the kernel's configuration: a number, or whether an option is ``y`` (``of`` is ``bool``). Loading fails
    where the option is not set, unless a default, which must be 0, is given."""
    raise in_program("kconfig")


@builtin(Builtin.KERNEL_VERSION)
def kernel_version(major: int = 0, minor: int = 0, patch: int = 0) -> int:
    """The release of the kernel that runs the program, as a number that grows; with arguments, that of the release
    named: ``if bpf.kernel_version() >= bpf.kernel_version(6, 4): …``."""
    if major:
        return major << 16 | minor << 8 | patch
    raise in_program("kernel_version")
