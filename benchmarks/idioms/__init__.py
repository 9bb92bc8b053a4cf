"""The checks that the verifier asks for, in Python and in C."""
