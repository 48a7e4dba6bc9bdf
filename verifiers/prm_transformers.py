"""A reward model in plain transformers, with the key-values of prefixes kept: only what is new is computed."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from ponder.errors import UserError
from ponder.verifiers.prefix_tree import PrefixTree, Segment, groups, runs, segments
from ponder.verifiers.rewards import Answer, Head, Request, Shape, check_length, existing, folder

_CACHE_TOKENS = 65_536
_OPTIONS = {"device": "cpu", "batch_size": 16, "cache_tokens": _CACHE_TOKENS}
_PROCESS = Head("process")
_DTYPES = ("auto", "float32", "bfloat16", "float16", "float64")
_PIECE = 1024
"""The most tokens of a solution in one forward: bounds the attention mask."""

_BATCH_TOKENS = 32_768
"""The most tokens in a batch, past ones included: bounds its copy of their key-values."""

_LAYERS: dict[str, tuple[tuple[str, ...], ...]] = {
    "process": (("score.0", "score.2"),),
    "labels": (("score",), ("regression_layer",)),  # the latter in ArmoRM
    "words": (("lm_head",),),
    "tied words": (("model.embed_tokens",),),
    "value": (("v_head.summary",),),
}
"""Names of a head's layers in a checkpoint; of several sets the first that is there."""


@dataclass(frozen=True, slots=True)
class _Known:
    """What a forward gave for a segment: key-values (2 x layers, heads, tokens, size) and states (tokens, width)."""

    past: Any
    states: Any


@dataclass(frozen=True, slots=True)
class _Job:
    """Neighbouring segments to compute in one forward, and those before them."""

    ids: Sequence[int]
    before: Sequence[Segment]
    run: Sequence[Segment]

    @property
    def start(self) -> int:
        return self.run[0].start

    @property
    def new(self) -> int:
        return self.run[-1].end - self.start


class TransformersRewards:
    """A reward model in transformers: any decoder that AutoModel knows, with one of our heads.

    Solutions are cut into segments at their requests' cuts. Key-values of a segment are computed once, in right-padded
    batches after the left-padded ones of what lies before; so a prompt is computed once for all its solutions, and a
    solution that grew by a step costs that step. Sliding windows are kept by the mask: all key-values stay.

    Args:
        model: a checkpoint folder or a hub name, in safetensors.
        dtype: of torch, or "auto", the checkpoint's; None is float32. The head itself is float32.
        options: device ("cpu", "cuda", ...); batch_size, solutions in one forward; cache_tokens, how many tokens' key-
            values and states are kept (2 x layers x key-value heads x head size + width numbers each): a call that
            needs more works in groups of solutions. 0 keeps none between calls.
        head: what is read at the last hidden states.

    Raises:
        UserError: an option or dtype that is not allowed; on the first call, a checkpoint without that head.
    """

    def __init__(self, model: str, dtype: str | None, options: Mapping[str, Any], *, head: Head = _PROCESS) -> None:
        for key in options:
            if key not in _OPTIONS:
                raise UserError(
                    f"verifier.options.{key}={options[key]!r} is unknown", f"Allowed: {', '.join(_OPTIONS)}"
                )
        if dtype not in (None, *_DTYPES):
            raise UserError(f"verifier.dtype={dtype!r} is unknown", f"Allowed: {', '.join(_DTYPES)}")
        given = {**_OPTIONS, **options}
        self.model = existing(model)
        self.dtype = dtype or "float32"
        self.head = head
        self.device = str(given["device"])
        self.batch_size = _count("batch_size", given["batch_size"], 1)
        self.cache_tokens = _count("cache_tokens", given["cache_tokens"], 0)
        self._tree: PrefixTree[_Known] = PrefixTree()
        self._lock = threading.Lock()

    async def logits(self, requests: Sequence[Request]) -> list[Answer]:
        """Answers all requests, in a thread."""
        return await asyncio.to_thread(self._all, requests) if requests else []

    def flops(self, tokens: int, context: int) -> float:
        """Operations of `tokens` tokens computed after `context` others."""
        return self._shape.flops(tokens, context)

    def close(self) -> None:
        """Drops weights and key-values."""
        with self._lock:
            self.__dict__.pop("_body", None)
            self.__dict__.pop("_layers", None)
            self._tree.trim(0)

    def _all(self, requests: Sequence[Request]) -> list[Answer]:
        import torch

        with self._lock, torch.inference_mode():
            check_length(self.model, requests, self._body.config.get_text_config().max_position_embeddings)
            paths = [segments(request, _PIECE) for request in requests]
            answers = []
            for group in groups(paths, self.cache_tokens or _CACHE_TOKENS):
                computed = self._compute([requests[i] for i in group], [paths[i] for i in group])
                for i, new in zip(group, computed, strict=True):
                    rows = self._read(paths[i], requests[i].reads)
                    answers.append(Answer(rows, new, paths[i][-1].end - new))
                    self._tree.use(paths[i])
                self._tree.trim(self.cache_tokens)
            return answers

    def _compute(self, requests: Sequence[Request], paths: Sequence[Sequence[Segment]]) -> list[int]:
        """Makes every segment known that holds a read; gives the number of tokens each request had to pay."""
        claimed: set[bytes] = set()
        jobs: list[_Job] = []
        computed = []
        for request, path in zip(requests, paths, strict=True):
            unread = [i for i, segment in enumerate(path) if segment not in self._tree and segment.holds(request.reads)]
            needed = path[: unread[-1] + 1] if unread else []
            mine = [i for i, s in enumerate(needed) if s not in self._tree and s.key not in claimed]
            claimed.update(path[i].key for i in mine)
            computed.append(sum(len(path[i]) for i in mine))
            for run in runs(path, mine, _PIECE):
                jobs.append(_Job(request.ids, path[: run[0]], [path[i] for i in run]))
        while jobs:
            ready = [job for job in jobs if all(segment in self._tree for segment in job.before)]
            jobs = [job for job in jobs if not all(segment in self._tree for segment in job.before)]
            for batch in self._batches(sorted(ready, key=lambda job: (job.start, job.new))):
                self._forward(batch)
        return computed

    def _batches(self, jobs: Sequence[_Job]) -> Iterator[list[_Job]]:
        batch: list[_Job] = []
        for job in jobs:
            width = max(j.start for j in [*batch, job]) + max(j.new for j in [*batch, job])
            if batch and (len(batch) == self.batch_size or (len(batch) + 1) * width > _BATCH_TOKENS):
                yield batch
                batch = []
            batch.append(job)
        if batch:
            yield batch

    def _forward(self, jobs: Sequence[_Job]) -> None:
        """One batch. Its pasts end, and its new tokens begin, in the same column."""
        import torch
        from torch.nn.functional import pad
        from transformers import DynamicCache

        past, new = max(job.start for job in jobs), max(job.new for job in jobs)
        ids = torch.zeros(len(jobs), new, dtype=torch.long)
        mask = torch.zeros(len(jobs), past + new, dtype=torch.long)
        for row, job in enumerate(jobs):
            ids[row, : job.new] = torch.tensor(list(job.ids[job.start : job.start + job.new]))
            mask[row, past - job.start : past + job.new] = 1
        starts = torch.tensor([[job.start] for job in jobs])
        cache = DynamicCache()
        if past:
            rows = []
            for job in jobs:
                known = [self._tree[segment].past for segment in job.before]
                width = past - job.start
                rows.append(pad(torch.cat(known, 2), (0, 0, width, 0)) if known else None)
            size = next(row for row in rows if row is not None)
            stacked = torch.stack([torch.zeros_like(size) if row is None else row for row in rows], 1)
            for layer in range(len(stacked) // 2):
                cache.update(stacked[2 * layer], stacked[2 * layer + 1], layer)
        states = self._body(
            input_ids=ids.to(self.device),
            attention_mask=mask.to(self.device),
            position_ids=(starts + torch.arange(new)).to(self.device),
            past_key_values=cache,
            use_cache=True,
        ).last_hidden_state
        fresh = torch.stack([side[:, :, past:] for layer in cache.layers for side in (layer.keys, layer.values)], 1)
        for row, job in enumerate(jobs):
            for segment in job.run:
                part = slice(segment.start - job.start, segment.end - job.start)
                # Copies: a view would keep the whole batch alive.
                self._tree[segment] = _Known(fresh[row, :, :, part].clone(), states[row, part].clone())

    def _read(self, path: Sequence[Segment], reads: Sequence[int]) -> list[list[float]]:
        import torch

        found = [
            self._tree[segment].states[read - segment.start]
            for read in reads
            for segment in path
            if segment.start <= read < segment.end
        ]
        values = torch.stack(found).float()
        for i, (weight, bias) in enumerate(self._layers):
            values = torch.nn.functional.linear(values.relu() if i else values, weight, bias)
        rows: list[list[float]] = values.tolist()
        return rows

    @cached_property
    def _shape(self) -> Shape:
        return Shape.of(self.model)

    @cached_property
    def _body(self) -> Any:
        import torch
        from transformers import AutoModel
        from transformers.utils import logging

        dtype = self.dtype if self.dtype == "auto" else getattr(torch, self.dtype)
        verbosity = logging.get_verbosity()
        logging.set_verbosity_error()  # or it reports our head as unexpected
        try:
            body, told = AutoModel.from_pretrained(
                folder(self.model), dtype=dtype, trust_remote_code=False, output_loading_info=True
            )
        except (OSError, RuntimeError, ValueError) as error:
            raise UserError(
                f"verifier.model={self.model!r}: {error}", "Give a checkpoint of transformers in safetensors."
            ) from error
        finally:
            logging.set_verbosity(verbosity)
        kinds = set(getattr(body.config.get_text_config(), "layer_types", None) or ())
        if kinds - {"full_attention", "sliding_attention"}:
            raise UserError(
                f"verifier.model={self.model!r} has layers of {', '.join(sorted(kinds))}",
                "This engine reads models of full or sliding attention: set verifier.engine=vllm.",
            )
        if told["missing_keys"]:
            missing = ", ".join(sorted(told["missing_keys"])[:3])
            raise UserError(
                f"verifier.model={self.model!r} lacks {len(told['missing_keys'])} tensors: {missing}",
                "Its config.json and its weights do not belong together.",
            )
        try:
            return body.to(self.device).eval()
        except (AssertionError, RuntimeError) as error:
            raise UserError(f"verifier.options.device={self.device!r}: {error}", "Give a device of torch.") from error

    @cached_property
    def _layers(self) -> list[tuple[Any, Any]]:
        """Weight and bias, or None, of each layer of the head."""
        from safetensors import safe_open

        where = {}
        for file in sorted(folder(self.model).glob("*.safetensors")):
            with safe_open(file, "pt") as tensors:
                where.update(dict.fromkeys(tensors.keys(), file))

        def stored(name: str) -> Any:
            if name not in where:
                return None
            with safe_open(where[name], "pt") as tensors:
                tensor = tensors.get_tensor(name)
                rows = tensor[list(self.head.words)] if self.head.kind == "words" else tensor
                return rows.float().to(self.device)

        tied = self.head.kind == "words" and self._body.config.get_text_config().tie_word_embeddings
        kinds = _LAYERS["tied words" if tied else self.head.kind]
        for names in kinds:
            if all(f"{name}.weight" in where for name in names):
                return [(stored(f"{name}.weight"), stored(f"{name}.bias")) for name in names]
        wanted = " or ".join(", ".join(f"{name}.weight" for name in names) for names in kinds)
        raise UserError(
            f"verifier.model={self.model!r} has no {wanted}", "Choose the verifier.family that fits the model."
        )


def _count(name: str, value: Any, least: int) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise UserError(f"verifier.options.{name}={value!r} is not allowed", f"Allowed: whole numbers from {least}")
    return value
