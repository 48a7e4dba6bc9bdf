"""Process reward models on vLLM, on transformers, and by a forward written here."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

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
