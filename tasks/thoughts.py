"""Thoughts of a reasoning model are no answer: what a solution says outside `<think>...</think>`."""

from __future__ import annotations


def outside(text: str) -> str:
    """What stands after the last `</think>`, and before a `<think>` that is never closed."""
    return text.rpartition("</think>")[2].partition("<think>")[0]
