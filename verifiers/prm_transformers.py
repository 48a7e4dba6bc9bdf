"""A reward model in plain transformers."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

from ponder.errors import UserError
from ponder.verifiers.rewards import Answer, Request, Shape, check_length, existing, folder


class TransformersRewards:
    """The same model in transformers: right-padded batches, no cache between calls.

    Each call computes whole prefixes, so the cost of a stepwise search is quadratic here.

    Args:
        model: a checkpoint folder or a hub name, with the tensors of Qwen2ForProcessRewardModel.
        dtype: of torch; None is float32.
        options: device ("cpu", "cuda", ...) and batch_size.
    """

    def __init__(self, model: str, dtype: str | None, options: Mapping[str, Any]) -> None:
        for key in options:
            if key not in ("device", "batch_size"):
                raise UserError(f"verifier.options.{key}={options[key]!r} is unknown", "Allowed: device, batch_size")
        self.model = existing(model)
        self.dtype = dtype or "float32"
        self.device = str(options.get("device", "cpu"))
        self.batch_size = int(options.get("batch_size", 16))
        self._lock = threading.Lock()

    async def logits(self, requests: Sequence[Request]) -> list[Answer]:
        """Answers all requests in batches of like length, in a thread."""
        return await asyncio.to_thread(self._all, requests) if requests else []

    def flops(self, tokens: int, context: int) -> float:
        """Operations of `tokens` tokens computed after `context` others."""
        return self._shape.flops(tokens, context)

    def close(self) -> None:
        """Drops the weights."""
        self.__dict__.pop("_net", None)

    @cached_property
    def _shape(self) -> Shape:
        return Shape.of(self.model)

    @cached_property
    def _net(self) -> Any:
        import torch
        from safetensors.torch import load_file
        from transformers import AutoConfig, Qwen2Model

        path = folder(self.model)
        config = AutoConfig.from_pretrained(path)
        tensors = {name: t for file in sorted(path.glob("*.safetensors")) for name, t in load_file(file).items()}
        body = Qwen2Model(config)
        hidden = config.hidden_size
        head = torch.nn.Sequential(
            torch.nn.Linear(hidden, hidden), torch.nn.ReLU(), torch.nn.Linear(hidden, len(tensors["score.2.bias"]))
        )
        for part, prefix in ((body, "model."), (head, "score.")):
            part.load_state_dict({n.removeprefix(prefix): t for n, t in tensors.items() if n.startswith(prefix)})
        dtype = getattr(torch, self.dtype)
        return body.to(self.device, dtype).eval(), head.to(self.device, dtype).eval()

    def _all(self, requests: Sequence[Request]) -> list[Answer]:
        import torch

        answers: dict[int, Answer] = {}
        with self._lock, torch.inference_mode():
            body, head = self._net
            check_length(self.model, requests, body.config.max_position_embeddings)
            order = sorted(range(len(requests)), key=lambda i: len(requests[i].ids))
            for start in range(0, len(order), self.batch_size):
                chosen = order[start : start + self.batch_size]
                width = max(len(requests[i].ids) for i in chosen)
                ids = torch.zeros(len(chosen), width, dtype=torch.long)
                mask = torch.zeros(len(chosen), width, dtype=torch.long)
                for row, i in enumerate(chosen):
                    ids[row, : len(requests[i].ids)] = torch.tensor(list(requests[i].ids))
                    mask[row, : len(requests[i].ids)] = 1
                states = body(input_ids=ids.to(self.device), attention_mask=mask.to(self.device)).last_hidden_state
                for row, i in enumerate(chosen):
                    rows = head(states[row, list(requests[i].reads)]).float().tolist()
                    answers[i] = Answer(rows, len(requests[i].ids), 0)
        return [answers[i] for i in range(len(requests))]
