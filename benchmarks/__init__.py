"""Measurements of pyebpf against its rivals. ``python -m benchmarks`` compares generated code; see docs/benchmarks.md."""
