"""Benchmarks: python -m tests.bench, see docs/benchmarks.md."""
