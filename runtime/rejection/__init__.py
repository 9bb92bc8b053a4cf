"""What the verifier says about a refused program, told in the user's words: log in, ``Diagnostic`` out.

``parse`` reads a log, ``trace`` follows values back through it, ``rules`` knows the kernel's messages, ``explain`` puts
a diagnostic together.
"""
