"""The built-in machine: the bytes that the kernel gets, run in Python, without privilege and without Linux.

``load`` takes the same ``ObjectSpec`` as ``pyebpf.runtime.load`` and gives an object of the same shape. docs/machine.md
tells how the parts fit together.
"""
