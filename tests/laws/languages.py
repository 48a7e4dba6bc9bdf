"""Toy languages that several laws speak; `EVEN` and `UNEVEN` are fixtures in conftest.py."""

WANDERING = {"^": {"a": 0.6, "b": 0.4}, "a": {"a": 0.5, "b": 0.3, "$": 0.2}, "b": {"a": 0.9, "$": 0.1}}
"""Solutions of any length."""

RAGGED = {
    "^": {"a": 0.6, "b": 0.4},
    "a": {"b": 0.2, "c": 0.5, "$": 0.3},
    "b": {"c": 0.7, "$": 0.3},
    "c": {"d": 0.6, "$": 0.4},
    "d": {"e": 0.5, "$": 0.5},
    "e": {"$": 1.0},
}
"""Solutions have one to five characters and an end."""
