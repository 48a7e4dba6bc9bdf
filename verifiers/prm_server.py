"""A reward model on a vLLM server elsewhere, over HTTP: `docs/process_reward_models.md` has the server's command."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import httpx
from tenacity import AsyncRetrying, retry_if_exception, stop_after_attempt, wait_exponential

from ponder.errors import UserError, VerifierError
from ponder.verifiers.rewards import Answer, Head, Request, Shape, check_length, unserved

_OPTIONS = ("url", "name", "timeout", "attempts", "concurrency")
_BUSY = (408, 409, 429, 500, 502, 503, 504)
_TOLD = 500  # characters of a server's error that are passed on


class ServerRewards:
    """A vLLM server with `--runner pooling`, asked for every position's raw logits.

    Its HTTP API has no way to read the prefix cache when it pools tokens (vLLM 0.32 skips the cache for such requests),
    so each request computes all of its tokens, and all are booked as computed.

    Args:
        model: the checkpoint that the server runs; its tokenizer is read here.
        dtype: must be None: the server has its own.
        options: url (such as http://host:8000, needed), name (the model's name there, by default the first one it
            serves), timeout (seconds a request may take, 600), attempts (4), concurrency (requests at a time, 64).
        head: what the model has on top.

    Raises:
        UserError: an option is unknown or missing, or vLLM does not serve such a head.
    """

    def __init__(self, model: str, dtype: str | None, options: Mapping[str, Any], *, head: Head) -> None:
        if head.kind == "value":
            raise unserved("server")
        for key, value in options.items():
            if key not in _OPTIONS:
                raise UserError(f"verifier.options.{key}={value!r} is unknown", f"Allowed: {', '.join(_OPTIONS)}")
        if dtype is not None:
            raise UserError(f"verifier.dtype={dtype!r} is the server's business", "Give --dtype to the server.")
        url = str(options.get("url") or "")
        if not url.startswith(("http://", "https://")):
            raise UserError(
                f"verifier.options.url={url!r} is no server", "Give a running server's, such as http://localhost:8000"
            )
        self.model = model
        self.url = url.rstrip("/").removesuffix("/v1")
        self.name = options.get("name")
        self.timeout = float(options.get("timeout", 600.0))
        self.attempts = int(options.get("attempts", 4))
        self.concurrency = int(options.get("concurrency", 64))
        for key in ("timeout", "attempts", "concurrency"):
            if getattr(self, key) <= 0:
                raise UserError(f"verifier.options.{key}={options[key]} is out of range", "Allowed: above 0")
        self._served: tuple[str, int | None] | None = None

    async def logits(self, requests: Sequence[Request]) -> list[Answer]:
        """Answers all requests, so many at a time.

        Raises:
            VerifierError: the server failed, also when asked again; or a request is longer than it reads.
        """
        if not requests:
            return []
        limits = httpx.Limits(max_connections=self.concurrency)
        turns = asyncio.Semaphore(self.concurrency)
        async with httpx.AsyncClient(timeout=self.timeout, limits=limits) as client:
            name, ceiling = self._served or await self._looked_up(client)
            if ceiling is not None:
                check_length(self.model, requests, ceiling)
            results = await asyncio.gather(
                *(self._answer(client, turns, name, request) for request in requests), return_exceptions=True
            )
        for result in results:
            if isinstance(result, BaseException):
                raise result
        return results  # type: ignore[return-value]

    def flops(self, tokens: int, context: int) -> float:
        """Operations of `tokens` tokens computed after `context` others; 0 where the checkpoint is not here."""
        return self._shape.flops(tokens, context) if self._shape else 0.0

    def close(self) -> None:
        """Nothing: the server is not ours."""

    @cached_property
    def _shape(self) -> Shape | None:
        return Shape.of(self.model) if Path(self.model).is_dir() else None

    async def _looked_up(self, client: httpx.AsyncClient) -> tuple[str, int | None]:
        """Name and limit of the model, as the server says."""
        listed = (await self._call(client, "GET", "/v1/models", None)).get("data") or []
        served = {str(one["id"]): one.get("max_model_len") for one in listed}
        name = self.name or next(iter(served), None)
        if name not in served:
            raise UserError(
                f"verifier.options.name={name!r} is not served at {self.url}", f"Served: {', '.join(served) or 'none'}"
            )
        self._served = str(name), served[name]
        return self._served

    async def _answer(self, client: httpx.AsyncClient, turns: asyncio.Semaphore, name: str, request: Request) -> Answer:
        body = {"model": name, "input": list(request.ids), "task": "token_classify", "use_activation": False}
        async with turns:
            reply = await self._call(client, "POST", "/pooling", body)
        rows = reply["data"][0]["data"]
        if len(rows) != len(request.ids) or not isinstance(rows[0], list):
            raise VerifierError(
                f"{self.url} returned {len(rows)} rows for {len(request.ids)} tokens: start it with --pooler-config "
                '\'{"tok_pooling_type": "ALL", "task": "token_classify"}\''
            )
        return Answer([[float(value) for value in rows[read]] for read in request.reads], len(request.ids), 0)

    async def _call(self, client: httpx.AsyncClient, method: str, path: str, body: Any) -> dict[str, Any]:
        """One request, again with backoff where the server is busy or away."""
        retrying = AsyncRetrying(
            stop=stop_after_attempt(self.attempts),
            wait=wait_exponential(multiplier=0.1, max=10.0),
            retry=retry_if_exception(_passing),
            reraise=True,
        )

        async def once() -> httpx.Response:
            return (await client.request(method, self.url + path, json=body)).raise_for_status()

        try:
            reply: dict[str, Any] = (await retrying(once)).json()
        except httpx.HTTPStatusError as error:
            said = error.response.text[:_TOLD]
            raise VerifierError(f"{self.url}{path} answered {error.response.status_code}: {said}") from error
        except (httpx.HTTPError, ValueError) as error:
            raise VerifierError(f"{self.url}{path}: {type(error).__name__}: {error}") from error
        return reply


def _passing(error: BaseException) -> bool:
    """Whether asking again may help."""
    if isinstance(error, httpx.HTTPStatusError):
        return error.response.status_code in _BUSY
    return isinstance(error, httpx.TransportError)
