"""Commands: instantiate and call, no logic."""
