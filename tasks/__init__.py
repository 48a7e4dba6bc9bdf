"""Benchmarks, one file each: the docstring opens with one real row."""
