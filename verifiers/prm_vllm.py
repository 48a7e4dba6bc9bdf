"""A reward model in vLLM, with a prefix cache: only what is new is computed."""

from __future__ import annotations

import asyncio
import atexit
import itertools
import os
import threading
from collections.abc import Mapping, Sequence
from dataclasses import fields
from functools import cached_property
from typing import Any, get_args

from ponder.errors import UserError, VerifierError
from ponder.verifiers.rewards import Answer, Head, Request, Shape, check_length, existing, unserved

_engines: dict[tuple[int, str], tuple[asyncio.AbstractEventLoop, asyncio.Task[Any]]] = {}
_numbers = itertools.count()
_PROCESS = Head("process")
_GRACE = 20.0  # seconds for an engine to stop


class VLLMRewards:
    """A pooling engine of vLLM with prefix caching: only the uncached tail is computed.

    Args:
        model: a checkpoint folder or a hub name.
        dtype: of vLLM; None is float32 on a CPU.
        options: of AsyncEngineArgs.
        head: what the model has on top.

    Raises:
        UserError: an option is not one of vLLM's, or vLLM has no such head.
    """

    def __init__(self, model: str, dtype: str | None, options: Mapping[str, Any], *, head: Head = _PROCESS) -> None:
        if head.kind == "value":
            raise unserved("vllm")
        self.model = existing(model)
        self.head = head
        self.options = _vllm_options(model, dtype, options)
        if head.kind == "words" and int(self.options.get("tensor_parallel_size", 1)) > 1:
            # vLLM 0.32 takes the words' rows from each worker's own part of the vocabulary.
            raise UserError(
                "verifier.options.tensor_parallel_size: vLLM makes a classifier of words in one worker only",
                "Leave it at 1.",
            )

    async def logits(self, requests: Sequence[Request]) -> list[Answer]:
        """Answers all requests, submitted at once."""
        if not requests:
            return []
        engine = await self._engine()
        ceiling = engine.vllm_config.model_config.max_model_len
        check_length(self.model, requests, ceiling)
        return await asyncio.gather(*(self._answer(engine, list(request.ids), request.reads) for request in requests))

    def flops(self, tokens: int, context: int) -> float:
        """Operations of `tokens` tokens computed after `context` others."""
        return self._shape.flops(tokens, context)

    def close(self) -> None:
        """Stops this model's engines."""
        for key in [key for key in _engines if key[1] == self._settings]:
            _stop(key)

    @cached_property
    def _shape(self) -> Shape:
        return Shape.of(self.model)

    @cached_property
    def _settings(self) -> str:
        return repr(sorted(self._started.items(), key=str))

    @cached_property
    def _started(self) -> dict[str, Any]:
        """The options with what makes vLLM give this head's logits."""
        if self.head.kind != "words":
            return self.options  # vLLM knows the other heads by their architecture's name
        from transformers import AutoTokenizer

        tokenizer = AutoTokenizer.from_pretrained(self.options.get("tokenizer") or self.model)
        words = tokenizer.convert_ids_to_tokens(list(self.head.words))
        made = {"classifier_from_token": words, "method": "no_post_processing"}
        overrides = {**(self.options.get("hf_overrides") or {}), **made}
        return {**self.options, "convert": "classify", "hf_overrides": overrides}

    async def _answer(self, engine: Any, ids: list[int], positions: Sequence[int]) -> Answer:
        data = await self._run(engine, ids, skip_cache=False)
        cached = len(ids) - len(data)
        computed = len(data)
        if positions[0] < cached:  # a mark whose score was forgotten lies in the cached part
            data = await self._run(engine, ids, skip_cache=True)
            computed += len(data)
        offset = len(ids) - len(data)
        return Answer([data[position - offset].tolist() for position in positions], computed, cached)

    async def _run(self, engine: Any, ids: list[int], *, skip_cache: bool) -> Any:
        from vllm import PoolingParams
        from vllm.inputs.engine import tokens_input

        params = PoolingParams(task="token_classify", use_activation=False, skip_reading_prefix_cache=skip_cache)
        try:
            async for output in engine.encode(tokens_input(list(ids)), params, f"ponder-prm-{next(_numbers)}"):
                data = output.outputs.data
        except Exception as error:
            raise VerifierError(f"vLLM failed on {self.model}: {type(error).__name__}: {error}") from error
        return data.float()

    async def _engine(self) -> Any:
        loop = asyncio.get_running_loop()
        key = id(loop), self._settings
        for other, (owner, _) in list(_engines.items()):
            if owner.is_closed():
                _stop(other)
        entry = _engines.get(key)
        if entry is not None and entry[1].done() and (entry[1].exception() or entry[1].result().errored):
            _stop(key)
            entry = None
        if entry is None:
            entry = _engines[key] = loop, loop.create_task(_start(self._started))
        try:
            return await asyncio.shield(entry[1])
        except (UserError, asyncio.CancelledError):
            raise
        except Exception as error:
            raise VerifierError(f"vLLM did not start with {self.model}: {type(error).__name__}: {error}") from error


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


def shutdown_engines() -> None:
    """Stops every engine that verifiers started."""
    for key in list(_engines):
        _stop(key)


async def _start(options: Mapping[str, Any]) -> Any:
    """Starts a pooling engine, in a thread: loading takes a while, and the loop has other work."""
    from vllm.config import PoolerConfig
    from vllm.engine.arg_utils import AsyncEngineArgs
    from vllm.v1.engine.async_llm import AsyncLLM

    try:
        pooler = PoolerConfig(tok_pooling_type="ALL")
        args = AsyncEngineArgs(**options, runner="pooling", pooler_config=pooler)
        config = await asyncio.to_thread(args.create_engine_config)
    except (ValueError, TypeError, NotImplementedError, OSError) as error:
        raise UserError(
            f"verifier: vLLM refuses model={options['model']!r}: {error}", f"Settings: {options}"
        ) from error
    engine = await asyncio.to_thread(AsyncLLM.from_vllm_config, config, disable_log_stats=True)
    atexit.register(shutdown_engines)  # now, so that it runs before what vLLM itself registered
    return engine


def _vllm_options(model: str, dtype: str | None, given: Mapping[str, Any]) -> dict[str, Any]:
    """Checked options of AsyncEngineArgs, with our defaults where the user gave none."""
    for name, value in {"VLLM_LOGGING_LEVEL": "ERROR", "VLLM_NO_USAGE_STATS": "1", "VLLM_DO_NOT_TRACK": "1"}.items():
        os.environ.setdefault(name, value)
    from vllm.config.model import ModelDType
    from vllm.engine.arg_utils import AsyncEngineArgs
    from vllm.platforms import current_platform

    allowed = sorted({field.name for field in fields(AsyncEngineArgs)} - {"model", "runner", "pooler_config"})
    for key, value in given.items():
        if key not in allowed:
            raise UserError(f"verifier.options.{key}={value!r} is no option here", f"Allowed: {', '.join(allowed)}")
    dtype = dtype or given.get("dtype")
    if dtype is not None and str(dtype) not in get_args(ModelDType):
        raise UserError(f"verifier.dtype={dtype!r} is no dtype of vLLM", f"Allowed: {', '.join(get_args(ModelDType))}")
    options: dict[str, Any] = {"model": existing(model)}
    if current_platform.is_cpu():
        os.environ.setdefault("VLLM_CPU_KVCACHE_SPACE", "1")
        options |= {"block_size": 32, "enforce_eager": True, "dtype": "float32"}
    options |= {"enable_prefix_caching": True, **given}
    return options | ({"dtype": dtype} if dtype is not None else {})
