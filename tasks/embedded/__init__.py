"""Weights and tokenizers of the embedded policy and process reward model; see docs/embedded.md."""
