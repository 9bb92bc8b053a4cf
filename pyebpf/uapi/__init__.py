"""What the kernel's user-space interface (UAPI) says, as tables: constants, helpers, contexts, program kinds.

======================  ================================================================================
``constants``           enums (``ProgType``, ``MapType``, ``AttachType``, ``XdpAction``, …) and plain numbers
                        under their C names (``BPF_F_CURRENT_CPU``, ``ETH_P_IP``, …)
``releases``            first kernel release of each program, map and attach type
``helpers``             ``helper_by_name("map_lookup_elem")``: signature, what the verifier demands of each
                        argument, which program types may call it, since when and on which conditions
``contexts``            ``SK_BUFF``, ``XDP_MD``: fields, and who may read or write them
``programs``            ``KINDS``: one row per decorator (``kind_by_name("xdp")``)
``helper_functions``    a stub only: typed signatures of the helpers, for editors and type checkers
======================  ================================================================================

``constants``, ``releases``, ``helper_table`` and ``helper_functions`` are generated: ``tools/generate.py``
writes them from ``input/*.tsv``, which ``tools/extract_constants.py`` and ``tools/extract_helpers.py`` took
from kernel sources and BTF. Neither folder is part of the installed package. This package imports nothing
else of pyebpf.
"""
