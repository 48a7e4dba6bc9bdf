"""Every family on every engine that serves it, against a forward of transformers written here, to 1e-3."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest

from benchmarks.prm_cost import PARTICLES, STEPS, spent
from ponder.errors import VerifierError
from ponder.types import Problem, Step, Trace
from ponder.verifiers.prm import ProcessRewardModel
from tests import tiny_families
from tests.verifiers.test_families import STEPS as TEXTS
from tests.verifiers.test_families import expected, trace

pytest.importorskip("vllm")
pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("default"), pytest.mark.asyncio(loop_scope="session")]

SERVED = [name for name in tiny_families.FAMILIES if name != "skywork"]
CLOSE = 1e-3


def long(name: str, steps: int) -> Trace:
    """A solution of so many steps of some twenty letters."""
    return Trace(Problem(name, "17;a*3;b-5?"), tuple(Step(f"{name}{i}*{i}+{i}={i};a*3;b-5\n\n") for i in range(steps)))


def direct(folder: str, family: str, ids: Sequence[int], reads: Sequence[int]) -> list[float]:
    """Scores of positions by one plain forward of transformers."""
    import torch
    import transformers
    from safetensors.torch import load_file

    tensors = load_file(f"{folder}/model.safetensors")
    config = transformers.AutoConfig.from_pretrained(folder)
    tokenizer = transformers.PreTrainedTokenizerFast.from_pretrained(folder)
    batch, at = torch.tensor([list(ids)]), list(reads)
    with torch.inference_mode():
        if family in ("trl", "pure"):
            model: Any = transformers.AutoModelForTokenClassification.from_pretrained(folder)
            p = model.float().eval()(batch).logits[0, at].softmax(-1)
            return [float(value) for value in (p[:, 1] if family == "trl" else p[:, 1] - p[:, 0])]
        if family in ("qwen", "skywork"):
            body = transformers.Qwen2Model(config).float().eval()
            body.load_state_dict({k.removeprefix("model."): v for k, v in tensors.items() if k.startswith("model.")})
            states = body(batch).last_hidden_state[0, at]
            if family == "skywork":
                value = states @ tensors["v_head.summary.weight"].T + tensors["v_head.summary.bias"]
                return [float(one) for one in value[:, 0].sigmoid()]
            hidden = torch.relu(states @ tensors["score.0.weight"].T + tensors["score.0.bias"])
            logits = hidden @ tensors["score.2.weight"].T + tensors["score.2.bias"]
            return [float(one) for one in logits.softmax(-1)[:, 1]]
        model = transformers.AutoModelForCausalLM.from_pretrained(folder).float().eval()
        words = [
            tokenizer.encode(w, add_special_tokens=False)[-1] for w in ("+-" if family == "rlhflow" else (" +", " -"))
        ]
        return [float(one) for one in model(batch).logits[0, at][:, words].softmax(-1)[:, 0]]


def record(family: str, engine: str, found: Sequence[float], other: Sequence[float]) -> None:
    """Prints how far two engines are apart (pytest -s shows it), and fails beyond 1e-3."""
    assert len(found) == len(other)
    apart = max(abs(a - b) for a, b in zip(found, other, strict=True))
    print(f"{family} {engine}: {apart:.1e} over {len(found)} scores")  # noqa: T201
    assert apart < CLOSE


@pytest.mark.parametrize("family", tiny_families.FAMILIES)
async def test_engines_agree_with_a_plain_forward_at_linear_cost(family: str, tmp_path: Path) -> None:
    folder = str(tiny_families.FAMILIES[family](tmp_path))
    plain = ProcessRewardModel(folder, family, "transformers")
    engines = {"transformers": plain}
    if family in SERVED:
        engines["vllm"] = ProcessRewardModel(folder, family, "vllm", options={"max_model_len": 512})
    shown, grown = trace(*TEXTS), long("g", 9)
    ids, reads = expected(plain._layouts.tokenizer, family)
    lay = plain._lay(grown)
    truth = direct(folder, family, lay.ids, [end - 1 for end in lay.ends])
    assert max(truth) - min(truth) > 20 * CLOSE, "scores that are all alike show nothing"
    for name, verifier in engines.items():
        (score,) = await verifier.score([shown])
        record(family, f"{name} to plain, as shown", score.steps, direct(folder, family, ids, reads))
        scores = []
        for depth in range(1, 10):
            scores += await verifier.score([replace(grown, steps=grown.steps[:depth])])
        record(family, f"{name} to plain, step by step", scores[-1].steps, truth)
        computed = sum(one.cost.verifier_tokens for one in scores)
        assert computed <= len(lay.ids) + (32 * 9 if name == "vllm" else 0)
        assert sum(one.cost.verifier_cached_tokens for one in scores) > len(lay.ids)
        (again,) = await verifier.score([Trace(grown.problem, grown.steps)])
        assert again.cost.verifier_tokens == 0
        many = [long(f"{family}{i}", i % 7 + 1) for i in range(24)]
        theirs = [step for one in await plain.score(many) for step in one.steps]
        record(family, f"{name} to transformers", [s for one in await verifier.score(many) for s in one.steps], theirs)
        verifier.close()


async def test_ten_thousand_tokens(tmp_path: Path) -> None:
    folder = str(tiny_families.math_shepherd(tmp_path))
    solution = long("t", 420)
    plain = ProcessRewardModel(folder, "math_shepherd", "transformers")
    assert plain.quote(solution).verifier_tokens > 10_000
    vllm = ProcessRewardModel(folder, "math_shepherd", options={"max_model_len": 16_384})
    (a,), (b,) = await plain.score([solution]), await vllm.score([solution])
    record("math_shepherd", "vllm to transformers, 10,000 tokens", b.steps, a.steps)
    for length in (64, 128):
        cost = await spent(vllm, length)
        assert cost.generated == PARTICLES * STEPS * length
        assert cost.ratio(cost.computed) <= 1.3
        assert cost.ratio(cost.prefixes) > 8
    vllm.close()


@contextmanager
def server(folder: str, words: Sequence[str], port: int) -> Iterator[str]:
    """vLLM's own server in a process group of its own, ended with its children."""
    overrides = {"classifier_from_token": list(words), "method": "no_post_processing"}
    pooler = {"tok_pooling_type": "ALL", "task": "token_classify"}
    command = [sys.executable, "-m", "vllm.entrypoints.openai.api_server", "--model", folder, "--runner", "pooling"]
    command += ["--convert", "classify", "--hf-overrides", json.dumps(overrides), "--pooler-config", json.dumps(pooler)]
    command += ["--host", "127.0.0.1", "--port", str(port), "--served-model-name", "tiny", "--max-model-len", "512"]
    command += ["--dtype", "float32", "--enforce-eager"]
    env = {**os.environ, "VLLM_CPU_KVCACHE_SPACE": "1", "VLLM_LOGGING_LEVEL": "ERROR", "HF_HUB_OFFLINE": "1"}
    running = subprocess.Popen(command, env=env, start_new_session=True)
    try:
        url, deadline = f"http://127.0.0.1:{port}", time.monotonic() + 400
        while True:
            assert running.poll() is None, "the server ended"
            assert time.monotonic() < deadline, "the server did not start"
            try:
                if httpx.get(f"{url}/health", timeout=5).status_code == 200:
                    break
            except httpx.TransportError:
                pass
            time.sleep(1)
        yield url
    finally:
        os.killpg(running.pid, signal.SIGTERM)
        try:
            running.wait(30)
        except subprocess.TimeoutExpired:
            os.killpg(running.pid, signal.SIGKILL)
            running.wait(30)


async def test_a_real_server_agrees(tmp_path: Path) -> None:
    folder = str(tiny_families.math_psa(tmp_path))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    plain = ProcessRewardModel(folder, "math_psa", "transformers")
    words = plain._layouts.tokenizer.convert_ids_to_tokens(list(plain._layouts.words))
    with server(folder, words, port) as url:
        remote = ProcessRewardModel(folder, "math_psa", "server", options={"url": url})
        traces = [trace(*TEXTS), *(long(f"s{i}", i % 7 + 1) for i in range(24))]
        ours = await remote.score(traces)
        theirs = [step for one in await plain.score(traces) for step in one.steps]
        record("math_psa", "server to transformers", [step for one in ours for step in one.steps], theirs)
        assert all(one.cost.verifier_tokens > 0 and one.cost.verifier_cached_tokens == 0 for one in ours)
        assert [one.cost.verifier_tokens for one in await remote.score(traces)] == [0] * len(traces)
        with pytest.raises(VerifierError, match="512"):
            await remote.score([long("too", 60)])
    with pytest.raises(VerifierError, match=url):
        await ProcessRewardModel(folder, "math_psa", "server", options={"url": url, "attempts": 1}).score(traces)
