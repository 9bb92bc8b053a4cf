"""BPF object files: ``write_object`` makes one, ``read_object`` understands anybody's.

The parts: ``elf_file`` is the container, ``elf_maps`` the definition of maps, ``elf_check`` the rules,
``elf_write`` and ``elf_read`` the two directions, ``elf_code`` the references in code, ``elf_text`` the
text.

What comes back from ``read_object(write_object(spec))`` is ``spec``, but that: types are copies
(``btf.equal``), functions without type have a default one; of maps whose key and value types the kernel
takes none, only the sizes are left, and inner maps are called after the outer one; a variable without type
has that of its layout; a reference to a private variable, or into a variable, is one to its section.
"""

from pyebpf.backend.elf_file import ElfError
from pyebpf.backend.elf_read import read_object
from pyebpf.backend.elf_text import describe_object, describe_types, object_types
from pyebpf.backend.elf_write import write_object

__all__ = ["ElfError", "describe_object", "describe_types", "object_types", "read_object", "write_object"]
