"""How many floating-point operations tokens take: 2 x (parameters + 2 x layers x width x context) each."""

from __future__ import annotations

import json
import math
import struct
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Flops:
    """The operation count of one model (formula: Brown et al. 2024, arXiv:2407.21787).

    Attributes:
        parameters: number of weights.
        layers: number of transformer layers.
        width: hidden size.
    """

    parameters: int
    layers: int
    width: int

    @classmethod
    def of(cls, model: str) -> Flops:
        """Reads a checkpoint's shapes: safetensors headers, or the architecture without weights.

        Args:
            model: a checkpoint folder or a hub name.
        """
        from transformers import AutoConfig

        config = AutoConfig.from_pretrained(model)
        text = config.get_text_config()
        parameters = sum(map(_weights, Path(model).glob("*.safetensors"))) or _parameters(config)
        return cls(parameters, text.num_hidden_layers, text.hidden_size)

    def __call__(self, tokens: int, context: int) -> float:
        """Operations of `tokens` tokens computed after `context` others."""
        tokens = max(tokens, 0)
        seen = tokens * context + tokens * (tokens + 1) / 2
        return 2.0 * (self.parameters * tokens + 2 * self.layers * self.width * seen)


def _weights(file: Path) -> int:
    """Number of weights in a safetensors file, from its header alone."""
    with file.open("rb") as handle:
        (length,) = struct.unpack("<Q", handle.read(8))
        header = json.loads(handle.read(length))
    return sum(math.prod(entry["shape"]) for name, entry in header.items() if name != "__metadata__")


def _parameters(config: object) -> int:
    """Number of weights of an architecture, built without allocating any."""
    import torch
    from transformers import AutoModelForCausalLM

    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config)
    return sum(weight.numel() for weight in model.parameters())
