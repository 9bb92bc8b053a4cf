"""The map types over byte arrays in the machine's memory."""

from __future__ import annotations


class MachineMap:
    """A map of the machine."""
