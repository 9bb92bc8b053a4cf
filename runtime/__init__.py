"""Talking to the kernel: objects become programs and maps there, and user space sees them as Python objects.

From the bottom up: ``attrs`` and ``syscall`` are bpf(2), ``fd`` and ``memory`` own what it returns,
``errors`` and ``privilege`` say what went wrong, ``info`` and ``probe`` ask. ``elements``, ``map_codec``,
``maps``, ``map_kinds`` and ``events`` are maps as mappings. ``linker`` and ``prepare`` do what needs no
kernel; ``references``, ``map_create``, ``data``,
``prog_load`` and ``load`` bring an ``ObjectSpec`` into the kernel as ``program`` objects; ``attach`` puts
those to work; ``pin`` and ``pinned`` keep and find them; ``trace`` reads what they print.

What depends on the running kernel: ``kernel_btf``, ``kernel_modules`` and ``kernel_index`` have its types,
``kernel_config``, ``kallsyms`` and ``syscall_wrapper`` tell how it was built; ``core`` and its parts, ``externs``,
``kconfig`` and ``attach_target`` fill in what objects ask of it. ``own_folder`` is where things are kept between runs.
"""
