"""transformers on any machine: the contract of `VLLMSampler`, without vLLM.

Concurrent requests are gathered into left-padded batches, one forward a token for all. Each
row draws from a generator of its own, so that a result does not hang on its company.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Mapping, Sequence
from copy import copy
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from ponder.errors import SamplerError, UserError
from ponder.protocols import Picking, Until
from ponder.samplers.chat import ChatFormat, Prompts, decode, first_tokens, settings, split, step_text
from ponder.samplers.flops import Flops
from ponder.types import Cost, Probabilities, Step, Trace, Why

_DTYPES = ("float32", "bfloat16", "float16", "float64")


@dataclass
class _Row:
    """One completion in the making."""

    prompt: list[int]
    limit: int
    until: Until
    seed: int
    picking: Mapping[str, Any] = field(default_factory=dict)
    wanted: Sequence[int] = ()  # a probe's tokens, whose probabilities are asked for
    ids: list[int] = field(default_factory=list)
    logprobs: list[float] = field(default_factory=list)
    top: list[tuple[float, ...]] = field(default_factory=list)
    found: list[float] = field(default_factory=list)
    why: Why | None = None
    dropped: bool = False


class HFSampler:
    """A causal language model run by transformers.

    Args:
        model: a checkpoint folder or a hub name.
        temperature: 0 is greedy.
        top_p: nucleus mass in (0, 1].
        top_k: most likely tokens kept; 0 keeps all.
        min_p: least probability relative to the most likely token's.
        top_logprobs: how many likeliest tokens each step tells of.
        system: see `ChatFormat`, as are template, prefill, raw and chat_options.
        dtype: of torch, such as float32 or bfloat16; None is float32.
        device: of torch, such as cpu or cuda.
        batch_size: most rows in one forward.

    Raises:
        UserError: a value is not allowed, or a folder is missing.
    """

    def __init__(
        self,
        model: str,
        temperature: float = 0.8,
        top_p: float = 1.0,
        top_k: int = 0,
        min_p: float = 0.0,
        top_logprobs: int = 0,
        system: str | None = None,
        template: str = "{prompt}",
        prefill: str = "",
        raw: bool = False,
        chat_options: Mapping[str, Any] | None = None,
        dtype: str | None = None,
        device: str = "cpu",
        batch_size: int = 64,
    ) -> None:
        dtype = dtype or "float32"
        if dtype not in _DTYPES:
            raise UserError(f"sampler.dtype={dtype!r} is unknown", f"Allowed: {', '.join(_DTYPES)}")
        if model.startswith(("/", "./", "../")) and not Path(model).exists():
            raise UserError(f"sampler.model={model!r}: no such folder", "Give a checkpoint folder or a hub name.")
        self.model = model
        self.picking = settings(temperature, top_p, top_k, min_p)
        self.top_logprobs = top_logprobs
        self.dtype, self.device, self.batch_size = dtype, device, batch_size
        self.chat = ChatFormat(system, template, prefill, raw, dict(chat_options or {}))
        self._waiting: list[tuple[_Row, asyncio.Future[None]]] = []
        self._worker: asyncio.Task[None] | None = None
        self._loading = threading.Lock()
        self._owner = self  # whose model and queue a varied sampler shares

    async def sample(self, trace: Trace, n: int, until: Until, *, seed: int) -> list[Step]:
        """Draws n continuations; see `ponder.protocols.Sampler`.

        Log-probabilities are the model's own, before temperature and truncation.

        Raises:
            SamplerError: the model failed.
        """
        prompt = self._prompts.of(trace)
        room = await asyncio.to_thread(self._room) - len(prompt)
        if room <= 0:
            return [Step(text="", why="length")] * n
        limit = min(until.max_tokens, room, until.every or room)
        words = np.random.SeedSequence(abs(int(seed))).generate_state(n, np.uint64)
        picking = {**self.picking, "top_logprobs": self.top_logprobs}
        rows = [_Row(prompt, limit, until, int(word) >> 1, picking) for word in words]
        await self._run(rows)
        steps = []
        for i, row in enumerate(rows):
            why = row.why or "abort"
            text = step_text(self._prompts.tokenizer, trace, row.ids, final=why in ("eos", "abort"))
            flops = self._flops(len(prompt) + len(row.ids), 0)
            cost = Cost(prompt_tokens=0 if i else len(prompt), new_tokens=len(row.ids), flops=flops)
            steps.append(Step(text, tuple(row.ids), tuple(row.logprobs), why, cost, tuple(row.top)))
        return steps

    def varied(self, picking: Picking) -> HFSampler:
        """This model, picking its tokens differently; a `UserError` if a pattern is asked for."""
        if picking.pattern is not None:
            raise UserError("transformers cannot hold a completion to a pattern", "sampler=vllm can")
        other = copy(self)
        other.picking = picking.over({**self.picking, "top_logprobs": self.top_logprobs})
        other.top_logprobs = other.picking.pop("top_logprobs")
        return other

    async def read(self, trace: Trace, step: Step) -> Step:
        """The step with the model's own log-probabilities of its tokens after the trace."""
        before = self._prompts.of(trace)
        ids = self._prompts.of(trace + step)[len(before) :]

        def forward() -> list[float]:
            import torch

            with self._loading, torch.inference_mode():
                inputs = torch.tensor([[*before, *ids]], device=self.device)
                logits = self._net(input_ids=inputs, logits_to_keep=len(ids) + 1).logits[0, :-1].float()
                found = logits.log_softmax(-1).gather(1, inputs[0, len(before) :, None])[:, 0]
            return [float(value) for value in found.cpu()]

        logprobs = await asyncio.to_thread(forward)
        length = len(before) + len(ids)
        cost = Cost(prompt_tokens=length, flops=self._flops(length, 0))
        return replace(step, token_ids=tuple(ids), logprobs=tuple(logprobs), cost=cost)

    async def probe(self, trace: Trace, suffix: str, choices: Sequence[str]) -> Probabilities:
        """Probability of each choice's first token right after trace + suffix.

        Raises:
            UserError: two choices begin with the same token.
            SamplerError: the model failed, or its context has no room left.
        """
        ids, firsts = first_tokens(self._prompts.tokenizer, suffix, choices)
        prompt = [*self._prompts.of(trace), *ids]
        if len(prompt) >= (ceiling := await asyncio.to_thread(self._room)):
            raise SamplerError(f"{self.model}: a probe of {len(prompt)} tokens does not fit its context of {ceiling}")
        row = _Row(prompt, 1, Until(max_tokens=1), 0, self.picking, firsts)
        await self._run([row])
        cost = Cost(prompt_tokens=len(prompt), new_tokens=1, flops=self._flops(len(prompt) + 1, 0))
        return Probabilities(row.found, cost)

    def split(self, trace: Trace, step: Step, until: Until) -> list[Step]:
        """Cuts a whole solution into steps; see `ponder.samplers.chat.split`."""
        return split(self._prompts.tokenizer, trace, step, until)

    def quote(self, trace: Trace, tokens: int) -> Cost:
        """The most that one completion of `tokens` tokens can cost."""
        prompt = len(self._prompts.of(trace))
        return Cost(prompt_tokens=prompt, new_tokens=tokens, flops=self._flops(prompt + tokens, 0))

    @cached_property
    def _prompts(self) -> Prompts:
        from transformers import AutoTokenizer

        return Prompts(AutoTokenizer.from_pretrained(self.model), self.chat)

    @cached_property
    def _flops(self) -> Flops:
        return Flops.of(self.model)

    @property
    def _net(self) -> Any:
        return self._owner._loaded

    @cached_property
    def _loaded(self) -> Any:
        import torch
        from transformers import AutoModelForCausalLM

        return AutoModelForCausalLM.from_pretrained(self.model, dtype=getattr(torch, self.dtype)).to(self.device).eval()

    @cached_property
    def _ends(self) -> frozenset[int]:
        found = self._net.generation_config.eos_token_id
        more = found if isinstance(found, list) else [found]
        return frozenset(token for token in (*more, self._prompts.tokenizer.eos_token_id) if token is not None)

    def _room(self) -> int:
        with self._loading:
            return int(self._net.config.get_text_config().max_position_embeddings)

    async def _run(self, rows: list[_Row]) -> None:
        """Queues rows, and waits until all are done; cancelling gives their places free."""
        loop, owner = asyncio.get_running_loop(), self._owner
        futures = [loop.create_future() for _ in rows]
        owner._waiting += zip(rows, futures, strict=True)
        if owner._worker is None or owner._worker.done() or owner._worker.get_loop() is not loop:
            owner._worker = loop.create_task(owner._work())
        try:
            await asyncio.gather(*futures)
        except asyncio.CancelledError:
            for row in rows:
                row.dropped = True
            raise
        except Exception as error:
            raise SamplerError(f"transformers failed on {self.model}: {type(error).__name__}: {error}") from error

    async def _work(self) -> None:
        """Takes what waits, batch by batch, until nothing does."""
        await asyncio.sleep(0)
        while self._waiting:
            batch, self._waiting = self._waiting[: self.batch_size], self._waiting[self.batch_size :]
            failure: Exception | None = None
            try:
                await asyncio.to_thread(self._generate, [row for row, _ in batch])
            except Exception as error:
                failure = error
            for _, future in batch:
                if not future.done():
                    future.set_result(None) if failure is None else future.set_exception(failure)

    def _generate(self, rows: list[_Row]) -> None:
        """Decodes rows to their ends, in a thread. Finished rows leave the batch's bookkeeping only."""
        import torch

        width = max(len(row.prompt) for row in rows)
        ids = torch.zeros(len(rows), width, dtype=torch.long, device=self.device)
        mask = torch.zeros_like(ids)
        for i, row in enumerate(rows):
            ids[i, width - len(row.prompt) :] = torch.tensor(row.prompt)
            mask[i, width - len(row.prompt) :] = 1
        dice = [torch.Generator().manual_seed(row.seed) for row in rows]
        past = None
        with torch.inference_mode():
            while any(row.why is None and not row.dropped for row in rows):
                where = (mask.cumsum(1) - 1).clamp(min=0)[:, -ids.shape[1] :]
                out = self._net(
                    input_ids=ids,
                    attention_mask=mask,
                    position_ids=where,
                    past_key_values=past,
                    use_cache=True,
                    logits_to_keep=1,
                )
                past = out.past_key_values
                logprobs = out.logits[:, -1].float().log_softmax(-1).cpu()
                ids = torch.zeros(len(rows), 1, dtype=torch.long, device=self.device)
                for i, row in enumerate(rows):
                    if row.why is None:
                        ids[i, 0] = self._advance(row, logprobs[i], dice[i])
                mask = torch.cat([mask, torch.ones_like(ids)], 1)

    def _advance(self, row: _Row, logprobs: Any, dice: Any) -> int:
        """Draws a row's next token and sees whether it ends there."""
        row.found = [float(logprobs[token].exp()) for token in row.wanted]
        token = self._pick(logprobs, dice, row.picking)
        if row.picking.get("top_logprobs"):
            row.top.append(tuple(logprobs.topk(min(row.picking["top_logprobs"], len(logprobs))).values.tolist()))
        row.ids.append(token)
        row.logprobs.append(float(logprobs[token]))
        if token in self._ends:
            row.why = "eos"
        elif row.until.stop and any(stop in decode(self._prompts.tokenizer, row.ids) for stop in row.until.stop):
            row.why = "stop"
        elif len(row.ids) >= row.limit:
            row.why = "stop" if row.until.every is not None and len(row.ids) >= row.until.every else "length"
        return token

    def _pick(self, logprobs: Any, dice: Any, picking: Mapping[str, Any]) -> int:
        """Index of one draw from log-probabilities of shape (vocabulary,)."""
        import torch

        if picking["temperature"] == 0:
            return int(logprobs.argmax())
        chances = (logprobs / picking["temperature"]).softmax(-1)
        ranked, order = chances.sort(descending=True)
        keep = torch.ones_like(ranked, dtype=torch.bool)
        keep &= ranked.cumsum(-1) - ranked < picking["top_p"]
        keep &= ranked >= picking["min_p"] * ranked[0]
        if picking["top_k"]:
            keep[picking["top_k"] :] = False
        return int(order[torch.multinomial(ranked * keep, 1, generator=dice)])
