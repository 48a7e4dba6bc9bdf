"""Weights and tokenizers of the embedded policy, its siblings and its process reward model; see docs/embedded.md."""

from pathlib import Path

POLICY = str(Path(__file__).parent / "policy")
PRM = str(Path(__file__).parent / "prm")
