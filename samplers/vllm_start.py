"""Starting, sharing and stopping vLLM engines: one for each event loop and set of options."""

from __future__ import annotations

import asyncio
import atexit
import os
import threading
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any, get_args

from ponder.errors import SamplerError, UserError

_engines: dict[tuple[int, str], tuple[asyncio.AbstractEventLoop, asyncio.Task[Any]]] = {}
_GRACE = 20.0  # seconds for an engine to stop


async def running(options: Mapping[str, Any]) -> Any:
    """The engine with these options in this event loop; starts it if there is none.

    Args:
        options: what `engine_options` checked.

    Raises:
        SamplerError: the engine did not start.
        UserError: the engine refused its settings.
    """
    loop = asyncio.get_running_loop()
    key = id(loop), settings(options)
    for other, (owner, _) in list(_engines.items()):
        if owner.is_closed():
            _stop(other)
    entry = _engines.get(key)
    if entry is not None and entry[1].done() and (entry[1].exception() or entry[1].result().errored):
        _stop(key)
        entry = None
    if entry is None:
        entry = _engines[key] = loop, loop.create_task(_start(options))
    try:
        return await asyncio.shield(entry[1])
    except (UserError, asyncio.CancelledError):
        raise
    except Exception as error:
        raise SamplerError(f"vLLM did not start with {options['model']}: {type(error).__name__}: {error}") from error


def settings(options: Mapping[str, Any]) -> str:
    """What tells one engine from another."""
    return repr(sorted(options.items(), key=str))


def shutdown_engines(of: str | None = None) -> None:
    """Stops the engines that samplers started; with `of`, only those of these settings."""
    for key in [key for key in _engines if of in (None, key[1])]:
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
        raise UserError(f"sampler: vLLM refuses model={options['model']!r}: {error}", _listed(options)) from error
    engine = await asyncio.to_thread(AsyncLLM.from_vllm_config, config, disable_log_stats=True)
    atexit.register(shutdown_engines)  # now, so that it runs before what vLLM itself registered
    return engine


def _listed(options: Mapping[str, Any]) -> str:
    given = ", ".join(f"{key}={value!r}" for key, value in options.items() if key != "model")
    return f"Settings (sampler.dtype, sampler.engine.*): {given}"


def engine_options(model: str, dtype: str | None, engine: Mapping[str, Any]) -> dict[str, Any]:
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
