"""The transformers sampler: the same contract, checked on a tiny random model."""

from __future__ import annotations

import asyncio
import dataclasses
from pathlib import Path
from typing import Any

import pytest

from ponder.errors import UserError
from ponder.protocols import Picking, Until
from ponder.samplers.chat import first_tokens
from ponder.types import Problem, Trace
from tests import tiny_models

pytestmark = pytest.mark.filterwarnings("default")
QUESTION = Problem("q", "What is one and one?")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_models.policy(tmp_path_factory.mktemp("hf"))


@pytest.fixture(scope="module")
def sampler(folder: Path) -> Any:
    from ponder.samplers.hf import HFSampler

    return HFSampler(str(folder), temperature=1.0)


def table(folder: Path, ids: list[int]) -> Any:
    import torch
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    with torch.inference_mode():
        return model(torch.tensor([ids])).logits[0].log_softmax(-1)


async def test_a_result_does_not_hang_on_its_company(sampler: Any) -> None:
    until = Until(max_tokens=25)
    alone = await sampler.sample(Trace(QUESTION), 3, until, seed=5)
    others = [sampler.sample(Trace(Problem(str(i), "x" * i)), 2, until, seed=i) for i in range(16)]
    amid, *_ = await asyncio.gather(sampler.sample(Trace(QUESTION), 3, until, seed=5), *others)
    assert [step.token_ids for step in alone] == [step.token_ids for step in amid]
    assert len({step.token_ids for step in alone}) == 3


async def test_logprobs_probe_and_costs(sampler: Any, folder: Path) -> None:
    (step,) = await sampler.sample(Trace(QUESTION), 1, Until(max_tokens=15), seed=2)
    prompt = sampler._prompts.of(Trace(QUESTION))
    rows = table(folder, [*prompt, *step.token_ids])
    expected = [float(rows[len(prompt) - 1 + i, token]) for i, token in enumerate(step.token_ids)]
    assert step.logprobs == pytest.approx(expected, abs=1e-3)
    assert (step.cost.prompt_tokens, step.cost.new_tokens) == (len(prompt), len(step.token_ids))
    assert sampler.quote(Trace(QUESTION), 15).flops >= step.cost.flops
    found = await sampler.probe(Trace(QUESTION), " is", ["Y", "N"])
    ids, firsts = first_tokens(sampler._prompts.tokenizer, " is", ["Y", "N"])
    chances = table(folder, [*prompt, *ids])[-1].exp()
    assert list(found) == pytest.approx([float(chances[token]) for token in firsts], abs=1e-3)


async def test_why_tells_what_ended_a_step(sampler: Any) -> None:
    trace = Trace(QUESTION)
    steps = await sampler.sample(trace, 8, Until(max_tokens=200), seed=1)
    assert {step.why for step in steps} <= {"eos", "length"}
    eos = sampler._prompts.tokenizer.eos_token_id
    assert all((step.token_ids[-1] == eos) == (step.why == "eos") for step in steps)
    assert (await sampler.sample(trace, 1, Until(every=3), seed=1))[0].why == "stop"
    text = steps[0].text
    stop = next(text[i : i + 2] for i in range(4, len(text)) if "\ufffd" not in text[i : i + 2])
    (step,) = await sampler.sample(trace, 1, Until(stop=(stop,), max_tokens=200), seed=1)
    assert step.why == "stop"
    assert stop in step.text
    assert step.token_ids == steps[0].token_ids[: len(step.token_ids)]
    (full,) = await sampler.sample(Trace(Problem("long", "x" * 600)), 1, Until(), seed=1)
    assert (full.why, full.token_ids) == ("length", ())


async def test_greedy_is_the_most_likely_token_each_time(folder: Path) -> None:
    from ponder.samplers.hf import HFSampler

    greedy = HFSampler(str(folder), temperature=0.0)
    (step,) = await greedy.sample(Trace(QUESTION), 1, Until(max_tokens=10), seed=1)
    prompt = greedy._prompts.of(Trace(QUESTION))
    rows = table(folder, [*prompt, *step.token_ids])
    assert [int(row.argmax()) for row in rows[len(prompt) - 1 : -1]] == list(step.token_ids)


async def test_truncation_keeps_only_likely_tokens(folder: Path) -> None:
    from ponder.samplers.hf import HFSampler

    narrow = HFSampler(str(folder), temperature=3.0, top_k=2)
    steps = await narrow.sample(Trace(QUESTION), 40, Until(max_tokens=1), seed=1)
    assert len({step.token_ids for step in steps}) == 2


async def test_cancelling_lets_others_go_on(sampler: Any) -> None:
    task = asyncio.create_task(sampler.sample(Trace(QUESTION), 4, Until(max_tokens=300), seed=1))
    await asyncio.sleep(0.05)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await sampler.sample(Trace(QUESTION), 1, Until(max_tokens=2), seed=1)


@pytest.mark.parametrize("wrong", [{"dtype": "int3"}, {"top_p": 0.0}, {"model": "./nowhere"}])
def test_a_wrong_setting_is_a_user_error(folder: Path, wrong: Any) -> None:
    from ponder.samplers.hf import HFSampler

    with pytest.raises(UserError, match="sampler"):
        HFSampler(**{"model": str(folder), **wrong})


async def test_a_varied_sampler_picks_differently_on_the_same_model(sampler: Any, folder: Path) -> None:
    from ponder.samplers.hf import HFSampler

    greedily = sampler.varied(Picking(temperature=0.0, top_logprobs=3))
    until = Until(max_tokens=12)
    hot, first = await asyncio.gather(
        sampler.sample(Trace(QUESTION), 2, until, seed=1), greedily.sample(Trace(QUESTION), 1, until, seed=1)
    )
    (expected,) = await HFSampler(str(folder), temperature=0.0).sample(Trace(QUESTION), 1, until, seed=2)
    assert first[0].token_ids == expected.token_ids != hot[0].token_ids
    assert [len(top) for top in first[0].top_logprobs] == [3] * len(first[0].token_ids)
    assert [top[0] for top in first[0].top_logprobs] == pytest.approx(first[0].logprobs)
    assert greedily._net is sampler._net


async def test_read_gives_a_step_the_log_probabilities_that_it_was_drawn_with(sampler: Any) -> None:
    (first,) = await sampler.sample(Trace(QUESTION), 1, Until(max_tokens=8), seed=3)
    (drawn,) = await sampler.sample(Trace(QUESTION) + first, 1, Until(max_tokens=8), seed=4)
    read = await sampler.read(Trace(QUESTION) + first, dataclasses.replace(drawn, logprobs=()))
    assert read.logprobs == pytest.approx(drawn.logprobs, abs=1e-4)
    assert read.cost.new_tokens == 0


def test_a_pattern_is_refused(sampler: Any) -> None:
    with pytest.raises(UserError, match="cannot hold a completion to a pattern"):
        sampler.varied(Picking(pattern="[0-9]"))
