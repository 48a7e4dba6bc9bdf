"""Process reward models on vLLM, on transformers, and by a forward written here."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

import pytest

from benchmarks.prm_cost import spent
from ponder.errors import UserError, VerifierError
from ponder.types import Problem, Step, Trace
from ponder.verifiers.prm import ProcessRewardModel

pytest.importorskip("vllm")
session = pytest.mark.asyncio(loop_scope="session")


def trace(name: str, steps: int, question: str = "17;a*3;b-5?") -> Trace:
    """A trace of so many steps of some twenty tokens."""
    grown = Trace(Problem(name, question))
    for i in range(steps):
        grown += Step(f"{name}{i}*{i}+{i}={i};a*3;b-5;c+1\n\n")
    return grown


def direct(folder: str, verifier: ProcessRewardModel, scored: Trace) -> list[float]:
    """Scores by one plain forward; ids are put together here from the chat template."""
    import torch
    from safetensors.torch import load_file
    from transformers import AutoConfig, PreTrainedTokenizerFast, Qwen2Model

    tokenizer = PreTrainedTokenizerFast.from_pretrained(folder)
    tensors = load_file(f"{folder}/model.safetensors")
    body = Qwen2Model(AutoConfig.from_pretrained(folder)).float().eval()
    body.load_state_dict({k.removeprefix("model."): v for k, v in tensors.items() if k.startswith("model.")})
    user = [{"role": "user", "content": scored.problem.prompt}]
    text = tokenizer.apply_chat_template(user, tokenize=False, add_generation_prompt=True)
    ids = tokenizer.encode(text, add_special_tokens=False)
    mark = tokenizer.convert_tokens_to_ids("<extra_0>")
    for step in scored.steps:
        ids += [*tokenizer.encode(step.text, add_special_tokens=False), mark]
    with torch.inference_mode():
        states = body(torch.tensor([ids])).last_hidden_state[0]
        hidden = torch.relu(states @ tensors["score.0.weight"].float().T + tensors["score.0.bias"].float())
        logits = hidden @ tensors["score.2.weight"].float().T + tensors["score.2.bias"].float()
    return [float(p) for t, p in zip(ids, logits.softmax(-1)[:, 1], strict=True) if t == mark]


@session
async def test_both_engines_equal_a_plain_forward(vllm_reward: Any, reward_folder: str) -> None:
    plain = ProcessRewardModel(reward_folder, "embedded", "transformers")
    traces = [trace(f"n{i}", i) for i in range(1, 7)]
    ours = await vllm_reward.score(traces)
    theirs = await plain.score(traces)
    for scored, a, b in zip(traces, ours, theirs, strict=True):
        expected = direct(reward_folder, vllm_reward, scored)
        assert len(a.steps) == len(scored.steps)
        assert list(a.steps) == pytest.approx(expected, abs=1e-3)
        assert list(b.steps) == pytest.approx(expected, abs=1e-3)
        assert float(a) == a.steps[-1]


@session
async def test_step_by_step_equals_at_once_at_linear_cost(vllm_reward: Any, reward_folder: str) -> None:
    grown = trace("grown", 10)
    tokens = vllm_reward.quote(grown).verifier_tokens
    scores = []
    for depth in range(1, 11):
        prefix = dataclasses.replace(grown, steps=grown.steps[:depth])
        scores += await vllm_reward.score([prefix])
    assert list(scores[-1].steps) == pytest.approx(direct(reward_folder, vllm_reward, grown), abs=1e-3)
    computed = sum(score.cost.verifier_tokens for score in scores)
    rescored = sum(score.cost.verifier_tokens + score.cost.verifier_cached_tokens for score in scores)
    assert computed < tokens + 32 * 10 < rescored
    (again,) = await vllm_reward.score([grown])
    assert again.cost.verifier_tokens == 0
    assert again.steps == scores[-1].steps


@session
async def test_forgotten_scores_in_the_cached_part_are_computed_again(vllm_reward: Any) -> None:
    scored = trace("forgotten", 8)
    (before,) = await vllm_reward.score([scored])
    vllm_reward._scores.clear()
    (after,) = await vllm_reward.score([scored])
    assert list(after.steps) == pytest.approx(before.steps, abs=1e-3)


@session
async def test_a_mark_in_question_or_answer_adds_no_score(vllm_reward: Any) -> None:
    odd = trace("odd", 2, "what is <extra_0>?") + Step("a<extra_0>b<extra_0>\n\n")
    (score,) = await vllm_reward.score([odd])
    assert len(score.steps) == 3
    assert vllm_reward._lay(odd).ids.count(*vllm_reward._layouts.mark) == 3


@session
async def test_empty_steps_and_traces(vllm_reward: Any) -> None:
    empty, ended = await vllm_reward.score([trace("e", 0), trace("e", 2) + Step("", why="eos")])
    assert float(empty) == 0.5
    assert empty.steps == ()
    assert len(ended.steps) == 3
    assert ended.steps[2] == ended.steps[1]


@session
async def test_scores_do_not_hang_on_the_batch(reward_folder: str) -> None:
    traces = [trace(f"b{i}", i % 5 + 1) for i in range(20)]
    together = await ProcessRewardModel(reward_folder, "embedded", "transformers").score(traces)
    single = ProcessRewardModel(reward_folder, "embedded", "transformers", options={"batch_size": 1})
    for one, score in zip(traces, together, strict=True):
        (alone,) = await single.score([one])
        assert list(alone.steps) == pytest.approx(score.steps, abs=1e-4)


@session
async def test_whole_reads_one_mark(reward_folder: str) -> None:
    scored = trace("w", 3)
    joined = Trace(scored.problem) + Step(scored.text)
    whole = ProcessRewardModel(reward_folder, "embedded", "transformers", reduction="whole")
    last = ProcessRewardModel(reward_folder, "embedded", "transformers")
    (a,), (b,) = await whole.score([scored]), await last.score([joined])
    assert float(a) == pytest.approx(float(b))
    assert a.steps == ()


@session
@pytest.mark.parametrize("engine", ["vllm", "transformers"])
async def test_too_long_is_an_error_that_names_the_limit(vllm_reward: Any, reward_folder: str, engine: str) -> None:
    plain = ProcessRewardModel(reward_folder, "embedded", "transformers")
    with pytest.raises(VerifierError, match="512"):
        await (vllm_reward if engine == "vllm" else plain).score([trace("long", 60)])


@pytest.mark.parametrize(
    "arguments",
    [
        {"family": "none"},
        {"engine": "none"},
        {"reduction": "max"},
        {"dtype": "int3"},
        {"options": {"blocksize": 1}},
        {"engine": "transformers", "options": {"block_size": 1}},
        {"engine": "server"},
        {"engine": "server", "options": {"url": "localhost"}},
        {"engine": "server", "options": {"url": "http://localhost:1", "port": 1}},
        {"engine": "server", "options": {"url": "http://localhost:1", "attempts": 0}},
        {"engine": "server", "options": {"url": "http://localhost:1"}, "dtype": "float32"},
        {"family": "math_psa", "options": {"tensor_parallel_size": 2}},
        {"mark": ""},
        {"neutral": 1.5},
    ],
)
def test_a_wrong_setting_is_named(reward_folder: str, arguments: Any) -> None:
    with pytest.raises(UserError) as caught:
        ProcessRewardModel(reward_folder, **arguments)
    assert "verifier." in caught.value.message
    assert caught.value.hint


def test_qwen_reads_steps_without_white_space(reward_folder: str) -> None:
    model = ProcessRewardModel(reward_folder, "qwen", "transformers")
    assert model.family.strip
    assert (model.family.system or "").startswith("Please reason")
    padded = Trace(Problem("s", "2+2?")) + Step(" 2+2=4\n\n") + Step("4 \n")
    bare = Trace(Problem("s", "2+2?")) + Step("2+2=4") + Step("4")
    assert model._lay(padded) == model._lay(bare)


async def test_a_search_pays_for_what_it_generated(reward_folder: str) -> None:
    plain = ProcessRewardModel(reward_folder, "embedded", "transformers")
    cost = await spent(plain, 16, particles=4, steps=8)
    assert cost.generated == 4 * 8 * 16
    assert cost.ratio(cost.computed) <= 1.3
    assert cost.ratio(cost.prefixes) > 4
    assert cost.computed + cost.cached == cost.prefixes


@session
async def test_a_search_on_vllm_pays_for_what_it_generated_and_parts_of_blocks(vllm_reward: Any) -> None:
    cost = await spent(vllm_reward, 64, particles=4, steps=5)
    assert cost.generated == 4 * 5 * 64
    assert cost.computed <= cost.generated + cost.prompt + 4 * 5 * 32
    assert cost.computed + cost.cached == cost.prefixes


Reply = Callable[[dict[str, Any]], tuple[int, Any]]


@contextmanager
def server(reply: Reply) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """A stand-in for vLLM's server of a model of 512 tokens: its address, and what was asked of it."""
    asked: list[dict[str, Any]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.answer(200, {"data": [{"id": "tiny", "max_model_len": 512}]})

        def do_POST(self) -> None:
            asked.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.answer(*reply(asked[-1]))

        def answer(self, status: int, body: Any) -> None:
            text = json.dumps(body).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        def log_message(self, *_: Any) -> None:
            pass

    web = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    Thread(target=web.serve_forever, args=(0.01,)).start()
    try:
        yield f"http://127.0.0.1:{web.server_port}", asked
    finally:
        web.shutdown()
        web.server_close()


def rows(body: dict[str, Any]) -> tuple[int, Any]:
    """Logits 0 and a twentieth of the position, at each."""
    return 200, {"data": [{"data": [[0.0, place / 20] for place in range(len(body["input"]))]}]}


async def test_a_server_is_asked_in_token_ids_and_read_at_the_marks(reward_folder: str) -> None:
    with server(rows) as (url, asked):
        remote = ProcessRewardModel(reward_folder, "embedded", "server", options={"url": f"{url}/v1/"})
        one, two = await remote.score([trace("a", 2), trace("b", 3)])
    lay = remote._lay(trace("b", 3))
    assert {"model": "tiny", "input": lay.ids, "task": "token_classify", "use_activation": False} in asked
    assert list(two.steps) == pytest.approx([remote.family.score([0.0, (end - 1) / 20]) for end in lay.ends])
    assert two.cost.verifier_tokens == len(lay.ids)
    assert two.cost.verifier_cached_tokens == 0
    assert len(one.steps) == 2


async def test_a_busy_server_is_asked_again_and_a_refusal_is_passed_on(reward_folder: str) -> None:
    busy = [503, 502]
    with server(lambda body: (busy.pop(), {}) if busy else rows(body)) as (url, asked):
        remote = ProcessRewardModel(reward_folder, "embedded", "server", options={"url": url})
        await remote.score([trace("a", 2)])
        assert len(asked) == 3
    with server(lambda _: (400, {"error": "no such task"})) as (url, asked):
        remote = ProcessRewardModel(reward_folder, "embedded", "server", options={"url": url})
        with pytest.raises(VerifierError, match="no such task"):
            await remote.score([trace("a", 2)])
        assert len(asked) == 1
        with pytest.raises(VerifierError, match="512"):
            await remote.score([trace("long", 60)])


async def test_a_server_that_is_away_or_serves_something_else_is_told_of(reward_folder: str) -> None:
    def remote(url: str, **options: Any) -> ProcessRewardModel:
        return ProcessRewardModel(reward_folder, "embedded", "server", options={"url": url, **options})

    with server(lambda _: (200, {"data": [{"data": [[0.0, 1.0]]}]})) as (url, _):
        with pytest.raises(VerifierError, match="tok_pooling_type"):
            await remote(url).score([trace("a", 2)])
        with pytest.raises(UserError, match="other"):
            await remote(url, name="other").score([trace("a", 2)])
    with pytest.raises(VerifierError, match=url):
        await remote(url, attempts=2).score([trace("a", 2)])
