"""The vLLM sampler against vLLM itself and against transformers, on a real engine."""

from __future__ import annotations

import asyncio
import dataclasses
from typing import Any

import pytest

from ponder.errors import UserError
from ponder.protocols import Picking, Until
from ponder.types import Problem, Trace
from tests.conftest import ENGINE

pytest.importorskip("vllm")
session = pytest.mark.asyncio(loop_scope="session")
QUESTION = Problem("q", "17;a*3;b-5;c*4;d+2;e-7;f*3;g+8;h*2;i-4;j+6;k*3;l-5;m*4;n+2;o-7;p*3?")


def greedy(folder: str, **more: Any) -> Any:
    """A greedy sampler on the session's engine."""
    from ponder.samplers.vllm_engine import VLLMSampler

    return VLLMSampler(folder, temperature=0.0, engine=ENGINE, **more)


def reference(folder: str, prompt: list[int]) -> Any:
    """Log-probabilities by transformers at each position, shape (tokens, vocabulary)."""
    import torch
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    with torch.inference_mode():
        return model(torch.tensor([prompt])).logits[0].log_softmax(-1)


@session
async def test_tokens_costs_and_texts_are_those_of_a_direct_call(vllm_policy: Any) -> None:
    from vllm import SamplingParams

    from ponder.samplers.vllm_engine import _seeds

    steps = await vllm_policy.sample(Trace(QUESTION), 3, Until(max_tokens=30), seed=7)
    engine = await vllm_policy._engine()
    prompt = vllm_policy._prompts.of(Trace(QUESTION))
    for step, seed in zip(steps, _seeds(7, 3), strict=True):
        params = SamplingParams(temperature=2.0, seed=seed, max_tokens=30)
        async for output in engine.generate({"prompt_token_ids": prompt}, params, f"direct-{seed}"):
            direct = output.outputs[0]
        assert step.token_ids == tuple(direct.token_ids)
        assert step.cost.new_tokens == len(direct.token_ids)
        assert len(step.logprobs) == len(step.token_ids)
    assert [step.cost.prompt_tokens for step in steps] == [len(prompt), 0, 0]
    assert all(step.cost.flops > 0 for step in steps)
    assert len({step.token_ids for step in steps}) == 3


@session
@pytest.mark.parametrize("hot", [False, True])
async def test_a_result_does_not_hang_on_its_company(vllm_policy: Any, policy_folder: str, hot: bool) -> None:
    sampler = vllm_policy if hot else greedy(policy_folder)
    until = Until(max_tokens=25)
    (alone,) = await sampler.sample(Trace(QUESTION), 1, until, seed=11)
    others = [sampler.sample(Trace(Problem(str(i), f"{i}+{i}?")), 1, until, seed=i) for i in range(32)]
    (amid,), *_ = await asyncio.gather(sampler.sample(Trace(QUESTION), 1, until, seed=11), *others)
    more = await sampler.sample(Trace(QUESTION), 4, until, seed=11)
    assert alone.token_ids == amid.token_ids == more[0].token_ids


@session
async def test_the_second_step_finds_its_prefix_in_the_cache(vllm_policy: Any) -> None:
    trace = Trace(Problem("cached", QUESTION.prompt[::-1]))
    (first,) = await vllm_policy.sample(trace, 1, Until(every=40), seed=1)
    (second,) = await vllm_policy.sample(trace + first, 1, Until(every=5), seed=2)
    assert second.cost.cached_tokens >= 32
    assert second.cost.prompt_tokens > second.cost.cached_tokens


@session
async def test_a_stop_string_across_tokens_ends_the_step_with_its_token(vllm_policy: Any) -> None:
    for seed in range(50):
        (whole,) = await vllm_policy.sample(Trace(QUESTION), 1, Until(max_tokens=40), seed=seed)
        if len(whole.text) > 12 and "\ufffd" not in whole.text:
            break
    stop = whole.text[6:9]
    (step,) = await vllm_policy.sample(Trace(QUESTION), 1, Until(stop=(stop,), max_tokens=40), seed=seed)
    assert step.why == "stop"
    assert stop in step.text
    assert step.token_ids == whole.token_ids[: len(step.token_ids)]
    assert whole.text.startswith(step.text)
    assert stop not in vllm_policy._prompts.tokenizer.decode(list(step.token_ids[:-1]))


@session
async def test_why_tells_what_ended_a_step(vllm_policy: Any) -> None:
    trace = Trace(QUESTION)
    assert {step.why for step in await vllm_policy.sample(trace, 4, Until(every=2, max_tokens=9), seed=1)} <= {
        "stop",
        "eos",
    }
    assert {step.why for step in await vllm_policy.sample(trace, 4, Until(max_tokens=2), seed=1)} <= {"length", "eos"}
    long = await vllm_policy.sample(trace, 64, Until(max_tokens=400), seed=1)
    ended = [step for step in long if step.why == "eos"]
    eos = vllm_policy._prompts.tokenizer.eos_token_id
    assert ended
    assert all(step.token_ids[-1] == eos for step in ended)
    assert all(eos not in step.token_ids for step in long if step.why != "eos")


@session
async def test_a_full_context_is_length_and_free(vllm_policy: Any) -> None:
    trace = Trace(Problem("long", "1+1" * 400))
    steps = await vllm_policy.sample(trace, 2, Until(), seed=1)
    assert [(step.why, step.token_ids, step.cost.new_tokens) for step in steps] == [("length", (), 0)] * 2


@session
async def test_steps_join_to_the_decoded_whole(vllm_policy: Any) -> None:
    from ponder.samplers.chat import decode

    trace = Trace(QUESTION)
    for i in range(6):
        (step,) = await vllm_policy.sample(trace, 1, Until(every=3), seed=i)
        trace += step
        if step.why == "eos":
            break
    whole = decode(vllm_policy._prompts.tokenizer, trace.token_ids)
    assert trace.text == (whole if trace.finished else whole.rstrip("\ufffd"))


@session
async def test_logprobs_and_probe_equal_transformers(vllm_policy: Any, policy_folder: str) -> None:
    from ponder.samplers.chat import first_tokens

    trace = Trace(QUESTION)
    (step,) = await vllm_policy.sample(trace, 1, Until(max_tokens=20), seed=5)
    prompt = vllm_policy._prompts.of(trace)
    table = reference(policy_folder, [*prompt, *step.token_ids])
    for i, (token, logprob) in enumerate(zip(step.token_ids, step.logprobs, strict=True)):
        assert logprob == pytest.approx(float(table[len(prompt) - 1 + i, token]), abs=1e-3)
    busy = vllm_policy.sample(trace, 4, Until(max_tokens=20), seed=5)
    found, steps = await asyncio.gather(vllm_policy.probe(trace, "a1", ["7", "1", "+"]), busy)
    suffix, firsts = first_tokens(vllm_policy._prompts.tokenizer, "a1", ["7", "1", "+"])
    expected = reference(policy_folder, [*prompt, *suffix])[-1].exp()
    assert list(found) == pytest.approx([float(expected[token]) for token in firsts], abs=1e-3)
    assert found.cost.new_tokens == 1
    assert steps[0].logprobs == pytest.approx(step.logprobs, abs=1e-3)


@session
async def test_more_prompt_tokens_than_a_batch_holds(vllm_policy: Any) -> None:
    waiting = [
        vllm_policy.sample(Trace(Problem(str(i), f"{i:03};{QUESTION.prompt}")), 1, Until(max_tokens=2), seed=i)
        for i in range(120)
    ]
    assert all(len(steps) == 1 for steps in await asyncio.gather(*waiting))


@session
async def test_choices_need_different_first_tokens(vllm_policy: Any) -> None:
    with pytest.raises(UserError, match="different tokens"):
        await vllm_policy.probe(Trace(QUESTION), "", ["+", "+"])


@session
async def test_cancelling_frees_the_engine(vllm_policy: Any) -> None:
    engine = await vllm_policy._engine()
    task = asyncio.create_task(vllm_policy.sample(Trace(QUESTION), 64, Until(max_tokens=400), seed=1))
    for _ in range(1000):
        await asyncio.sleep(0.001)
        if engine.get_num_unfinished_requests():
            break
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert engine.get_num_unfinished_requests() == 0


@session
async def test_equal_settings_share_an_engine_and_quotes_bound_costs(vllm_policy: Any, policy_folder: str) -> None:
    other = greedy(policy_folder, template="{prompt} {}")
    assert await other._engine() is await vllm_policy._engine()
    (step,) = await other.sample(Trace(QUESTION), 1, Until(max_tokens=10), seed=1)
    quote = other.quote(Trace(QUESTION), 10)
    assert quote.prompt_tokens == step.cost.prompt_tokens
    assert quote.new_tokens >= step.cost.new_tokens
    assert quote.flops >= step.cost.flops


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ({"dtype": "int3"}, "sampler.dtype='int3'"),
        ({"engine": {"blocksize": 3}}, "sampler.engine.blocksize=3"),
        ({"template": "no place"}, "sampler.template"),
        ({"top_p": 3.0}, "top_p"),
    ],
)
def test_a_wrong_setting_is_named_before_anything_starts(policy_folder: str, arguments: Any, named: str) -> None:
    from ponder.samplers.vllm_engine import VLLMSampler

    with pytest.raises(UserError) as caught:
        VLLMSampler(policy_folder, **arguments)
    assert named in str(caught.value)
    assert caught.value.hint


def test_a_missing_folder_is_named() -> None:
    from ponder.samplers.vllm_engine import VLLMSampler

    with pytest.raises(UserError, match="no such folder"):
        VLLMSampler("./nowhere/at/all")


@session
async def test_a_value_that_vllm_refuses_is_a_user_error(policy_folder: str) -> None:
    from ponder.samplers.vllm_engine import VLLMSampler

    with pytest.raises(UserError, match="max_model_len"):
        await VLLMSampler(policy_folder, engine={"max_model_len": 10**6}).sample(Trace(QUESTION), 1, Until(), seed=1)


@session
async def test_a_varied_sampler_picks_differently_on_the_same_engine(vllm_policy: Any, policy_folder: str) -> None:
    greedily = vllm_policy.varied(Picking(temperature=0.0, top_logprobs=3))
    assert await greedily._engine() is await vllm_policy._engine()
    until = Until(max_tokens=12)
    first, second = await greedily.sample(Trace(QUESTION), 2, until, seed=1)
    (expected,) = await greedy(policy_folder).sample(Trace(QUESTION), 1, until, seed=9)
    assert first.token_ids == second.token_ids == expected.token_ids
    assert not expected.top_logprobs
    assert [len(top) for top in first.top_logprobs] == [3] * len(first.token_ids)
    for own, top in zip(first.logprobs, first.top_logprobs, strict=True):
        assert list(top) == sorted(top, reverse=True)
        assert own == pytest.approx(top[0], abs=1e-5)  # greedy: the likeliest token is the one drawn
    assert vllm_policy.picking["temperature"] == 2.0


@session
async def test_a_pattern_holds_what_is_written(vllm_policy: Any) -> None:
    held = vllm_policy.varied(Picking(pattern=r"[0-9]{3}"))
    steps = await held.sample(Trace(QUESTION), 4, Until(max_tokens=10), seed=1)
    assert all(len(step.text) == 3 and step.text.isdigit() and step.why == "eos" for step in steps)
    assert held.varied(Picking(temperature=0.0)).pattern == r"[0-9]{3}"


@session
async def test_read_gives_a_step_the_log_probabilities_that_it_was_drawn_with(vllm_policy: Any) -> None:
    until = Until(max_tokens=10)
    (first,) = await vllm_policy.sample(Trace(QUESTION), 1, until, seed=3)
    (drawn,) = await vllm_policy.sample(Trace(QUESTION) + first, 1, until, seed=4)
    read = await vllm_policy.read(Trace(QUESTION) + first, dataclasses.replace(drawn, logprobs=()))
    assert read.token_ids == drawn.token_ids
    assert read.logprobs == pytest.approx(drawn.logprobs, abs=1e-3)
    length = len(vllm_policy._prompts.of(Trace(QUESTION) + first + drawn))
    assert (read.cost.prompt_tokens, read.cost.new_tokens) == (length, 1)


@session
async def test_a_verbatim_problem_skips_the_template(policy_folder: str) -> None:
    from ponder.samplers.vllm_engine import VLLMSampler

    sampler = VLLMSampler(policy_folder, template="Solve {prompt}", engine=ENGINE)
    plain = VLLMSampler(policy_folder, engine=ENGINE)
    asked = Problem("j", "1+1?", verbatim=True)
    assert sampler._prompts.of(Trace(asked)) == plain._prompts.of(Trace(Problem("k", "1+1?")))
    assert sampler._prompts.of(Trace(Problem("k", "1+1?"))) != sampler._prompts.of(Trace(asked))
