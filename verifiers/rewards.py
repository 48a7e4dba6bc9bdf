"""What every engine of a reward model speaks: requests, answers, heads; and what is known of a checkpoint."""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

from ponder.errors import UserError, VerifierError
from ponder.types import Cost


@dataclass(frozen=True, slots=True)
class Request:
    """Token ids of one solution, and where a reward model's head is read.

    Attributes:
        ids: prompt, steps, marks.
        reads: positions whose logits are wanted, rising, one or more.
        cuts: numbers of ids up to which other solutions may be the same: the prompt's end, each step's end. Rising.
    """

    ids: Sequence[int]
    reads: Sequence[int]
    cuts: Sequence[int] = ()


@dataclass(frozen=True, slots=True)
class Answer:
    """Logits of the head at the wanted positions, and how many tokens were computed for them or taken from a cache."""

    rows: list[list[float]]
    computed: int
    cached: int


@dataclass(frozen=True, slots=True)
class Head:
    """What a reward model has on top of its last hidden states.

    Attributes:
        kind: "process": two layers, as in Qwen2ForProcessRewardModel; "labels": the linear layer of a token or sequence
            classifier; "words": the rows of a language model's head that belong to `words`; "value": one linear layer
            to a number, saved as v_head.summary.
        words: token ids, for "words".
    """

    kind: Literal["process", "labels", "words", "value"]
    words: tuple[int, ...] = ()


class Rewards(Protocol):
    """An engine: vLLM in this process, a vLLM server, or transformers."""

    async def logits(self, requests: Sequence[Request]) -> list[Answer]:
        """Answers all requests, in order."""

    def flops(self, tokens: int, context: int) -> float:
        """Operations of `tokens` tokens computed after `context` others."""

    def close(self) -> None:
        """Gives its memory back."""


def bill(engine: Rewards, answer: Answer) -> Cost:
    """What an answer of an engine cost."""
    flops = engine.flops(answer.computed, answer.cached)
    return Cost(verifier_tokens=answer.computed, verifier_cached_tokens=answer.cached, flops=flops)


@dataclass(frozen=True)
class Shape:
    """How large a model is.

    Attributes:
        parameters: number of weights.
        layers: number of transformer layers.
        width: hidden size.
    """

    parameters: int
    layers: int
    width: int

    @classmethod
    def of(cls, model: str) -> Shape:
        """Reads the headers of a checkpoint's safetensors files."""
        from transformers import AutoConfig

        path = folder(model)
        config: Any = AutoConfig.from_pretrained(path)
        parameters = 0
        for file in path.glob("*.safetensors"):
            with file.open("rb") as handle:
                (length,) = struct.unpack("<Q", handle.read(8))
                header = json.loads(handle.read(length))
            parameters += sum(math.prod(entry["shape"]) for name, entry in header.items() if name != "__metadata__")
        return cls(parameters, config.num_hidden_layers, config.hidden_size)

    def flops(self, tokens: int, context: int) -> float:
        """Operations of `tokens` tokens computed after `context` others (Brown et al. 2024, arXiv:2407.21787)."""
        seen = tokens * context + tokens * (tokens + 1) / 2
        return 2.0 * (self.parameters * tokens + 2 * self.layers * self.width * seen)


def folder(model: str) -> Path:
    """Where a checkpoint lies; a hub name is downloaded."""
    from huggingface_hub import snapshot_download

    return Path(model) if Path(model).exists() else Path(snapshot_download(model))


def existing(model: str) -> str:
    """A folder or a hub name, as it may be given to a library; raises a `UserError` for a folder that is not there."""
    if model.startswith(("/", "./", "../", "~")) and not Path(model).expanduser().exists():
        raise UserError(f"verifier.model={model!r}: no such folder", "Give a checkpoint folder or a hub name.")
    return str(Path(model).expanduser()) if model.startswith("~") else model


def check_length(model: str, requests: Sequence[Request], ceiling: int) -> None:
    """Raises a `VerifierError` if a request is longer than a model reads."""
    longest = max(len(request.ids) for request in requests)
    if longest > ceiling:
        raise VerifierError(
            f"{model}: a solution of {longest} tokens does not fit the limit of {ceiling} (max_model_len)"
        )


def unserved(engine: str) -> UserError:
    """The error of vLLM's engines for a head that vLLM has no model for."""
    return UserError(
        f"verifier.engine={engine!r}: vLLM has no value head (v_head.summary) on language models",
        "Set verifier.engine=transformers.",
    )


def tokenizer_of(model: str) -> Any:
    """A checkpoint's tokenizer, as it was stored."""
    from transformers import AutoTokenizer, PreTrainedTokenizerFast
    from transformers.models.auto.tokenization_auto import get_tokenizer_config

    # For Qwen2 models AutoTokenizer of transformers 5 puts a byte-level tokenizer in place of a generic stored one.
    generic = get_tokenizer_config(model).get("tokenizer_class") == "PreTrainedTokenizerFast"
    return (PreTrainedTokenizerFast if generic else AutoTokenizer).from_pretrained(model)
