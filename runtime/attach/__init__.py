"""Hooks: one module for each kind of place that a program can be attached to; ``link`` is what they have in
common, ``netlink`` the protocol that interfaces are configured by."""
