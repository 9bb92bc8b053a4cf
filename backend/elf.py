"""BPF object files: ``write_object`` makes one, ``read_object`` understands anybody's.

The parts: ``elf_file`` is the container, ``elf_maps`` the definition of maps, ``elf_check`` the rules,
``elf_write`` and ``elf_read`` the two directions.
"""

from pyebpf.backend.elf_file import ElfError
from pyebpf.backend.elf_read import read_object
from pyebpf.backend.elf_write import write_object

__all__ = ["ElfError", "read_object", "write_object"]
