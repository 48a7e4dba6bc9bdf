"""The transformers engine of reward models: equal to a plain forward, at linear cost."""

from __future__ import annotations

import json
import os
import random
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from ponder.errors import UserError, VerifierError
from ponder.verifiers.prefix_tree import PrefixTree, groups, segments
from ponder.verifiers.prm_transformers import TransformersRewards
from ponder.verifiers.rewards import Answer, Head, Request
from tests.tiny_families import FAMILIES, OUTCOMES

pytest.importorskip("torch")
pytestmark = pytest.mark.filterwarnings("default")

CLOSE = 3e-5  # float32 in another order; 9e-6 was seen
WORDS = (10, 12)  # "+" and "-"
HEADS = {
    "qwen": Head("process"),
    "math_shepherd": Head("words", WORDS),
    "rlhflow": Head("words", WORDS),
    "skywork": Head("value"),
    "math_psa": Head("words", WORDS),
    "trl": Head("labels"),
    "pure": Head("labels"),
    "outcome_llama": Head("labels"),
    "outcome_qwen": Head("labels"),
    "objectives": Head("labels"),
    "armorm": Head("labels"),
}


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Builds each family once."""
    built: dict[str, Path] = {}

    def folder(family: str) -> Path:
        if family not in built:
            built[family] = {**FAMILIES, **OUTCOMES}[family](tmp_path_factory.mktemp(family))
        return built[family]

    return folder


def engine(folder: Path, family: str, **options: Any) -> TransformersRewards:
    """An engine with a family's head."""
    return TransformersRewards(str(folder), None, options, head=HEADS[family])


def solution(seed: int, steps: int, size: int = 12) -> list[list[int]]:
    """Token ids of a prompt and of some steps, of about `size` tokens each."""
    chance = random.Random(seed)
    return [[chance.randrange(256) for _ in range(chance.randint(size // 2, size))] for _ in range(steps + 1)]


def request(pieces: Sequence[Sequence[int]]) -> Request:
    """A prompt and steps, each step read at its last token."""
    ids: list[int] = []
    cuts = []
    for piece in pieces:
        ids += piece
        cuts.append(len(ids))
    return Request(ids, [cut - 1 for cut in cuts[1:]], cuts)


def direct(folder: Path, family: str, asked: Request) -> list[list[float]]:
    """Logits by one plain forward of one solution: no batch, no padding, no cache."""
    import torch
    import transformers
    from safetensors.torch import load_file

    tensors = load_file(folder / "model.safetensors")
    config = transformers.AutoConfig.from_pretrained(folder)
    kind = type(config).__name__.removesuffix("Config")
    ids = torch.tensor([asked.ids])
    reads = list(asked.reads)
    with torch.inference_mode():
        if HEADS[family].kind == "words":
            model = getattr(transformers, f"{kind}ForCausalLM").from_pretrained(folder).eval()
            logits = model(ids).logits[0, reads][:, list(WORDS)]
        elif family in ("trl", "pure"):
            model = getattr(transformers, f"{kind}ForTokenClassification").from_pretrained(folder).eval()
            logits = model(ids).logits[0, reads]
        else:
            body = getattr(transformers, f"{kind}Model")(config).eval()
            body.load_state_dict({k.removeprefix("model."): v for k, v in tensors.items() if k.startswith("model.")})
            states = body(ids).last_hidden_state[0, reads]
            if family == "qwen":
                hidden = torch.relu(states @ tensors["score.0.weight"].T + tensors["score.0.bias"])
                logits = hidden @ tensors["score.2.weight"].T + tensors["score.2.bias"]
            elif family == "skywork":
                logits = states @ tensors["v_head.summary.weight"].T + tensors["v_head.summary.bias"]
            else:
                logits = states @ tensors["regression_layer.weight" if family == "armorm" else "score.weight"].T
    rows: list[list[float]] = logits.tolist()
    return rows


def furthest(rows: Sequence[Sequence[float]], others: Sequence[Sequence[float]]) -> float:
    """Largest absolute difference of two tables of one shape."""
    return max(abs(a - b) for row, other in zip(rows, others, strict=True) for a, b in zip(row, other, strict=True))


def flat(answers: Sequence[Answer]) -> list[list[float]]:
    """All rows of all answers."""
    return [row for answer in answers for row in answer.rows]


@pytest.mark.parametrize("family", HEADS)
async def test_every_family_equals_a_plain_forward(tiny: Any, family: str) -> None:
    folder = tiny(family)
    requests = [request(solution(seed, seed % 7 + 1)) for seed in range(9)]
    expected = [row for asked in requests for row in direct(folder, family, asked)]
    rewards = engine(folder, family)
    together = flat(await rewards.logits(requests))
    assert furthest(together, expected) < CLOSE
    assert len({round(row[0], 3) for row in expected}) > len(expected) // 2  # scores that differ


async def test_answers_do_not_hang_on_batch_padding_or_order(tiny: Any) -> None:
    folder = tiny("rlhflow")
    requests = [request(solution(seed, seed % 7 + 1)) for seed in range(9)]
    expected = [direct(folder, "rlhflow", asked) for asked in requests]
    for size in (1, 2, 16):
        rewards = engine(folder, "rlhflow", batch_size=size)
        for order in (range(9), [4, 0, 8, 2, 6, 1, 7, 3, 5]):
            answers = await rewards.logits([requests[i] for i in order])
            for i, answer in zip(order, answers, strict=True):
                assert furthest(answer.rows, expected[i]) < CLOSE


async def test_particles_cost_their_distinct_tokens(tiny: Any) -> None:
    """8 particles of 20 steps, resampled at each: nothing is computed twice, and copies cost nothing."""
    folder = tiny("outcome_llama")
    rewards = engine(folder, "outcome_llama")
    chance = random.Random(5)
    particles = [solution(0, 0)] * 8
    distinct: set[tuple[int, ...]] = set()
    computed = cached = 0
    for depth in range(20):
        particles = [[*particle, solution(1000 * depth + i, 0)[0]] for i, particle in enumerate(particles)]
        particles = [particles[chance.randrange(8)] for _ in particles]
        requests = [request(particle) for particle in particles]
        answers = await rewards.logits(requests)
        for asked, answer in zip(requests, answers, strict=True):
            new = {tuple(asked.ids[:end]) for end in range(1, len(asked.ids) + 1)} - distinct
            assert answer.computed == len(new)
            assert answer.cached == len(asked.ids) - len(new)
            distinct |= new
        computed += sum(answer.computed for answer in answers)
        cached += sum(answer.cached for answer in answers)
    assert computed == len(distinct)
    assert cached > 10 * computed
    again = await rewards.logits(requests)
    assert sum(answer.computed for answer in again) == 0
    for asked, answer in zip(requests, again, strict=True):
        assert furthest(answer.rows, direct(folder, "outcome_llama", asked)) < CLOSE


@pytest.mark.parametrize("limit", [0, 40, 200])
async def test_what_was_forgotten_is_computed_again(tiny: Any, limit: int) -> None:
    folder = tiny("skywork")
    rewards = engine(folder, "skywork", cache_tokens=limit)
    grown = [solution(seed, 8) for seed in range(4)]
    computed = distinct = 0
    for depth in range(2, 10):
        requests = [request(pieces[:depth]) for pieces in grown]
        answers = await rewards.logits([*requests, requests[0]])
        assert limit or answers[4].computed == 0  # without a cache too, a call shares
        assert rewards._tree.tokens <= limit
        computed += sum(answer.computed for answer in answers)
        distinct = sum(len(asked.ids) for asked in requests)
        for asked, answer in zip(requests, answers, strict=False):
            assert furthest(answer.rows, direct(folder, "skywork", asked)) < CLOSE
    assert computed > distinct


async def test_a_call_larger_than_the_cache_works_in_groups(tiny: Any) -> None:
    folder = tiny("trl")
    requests = [request([*solution(0, 1), *solution(seed, 3)]) for seed in range(1, 13)]
    rewards = engine(folder, "trl", cache_tokens=100)
    answers = await rewards.logits(requests)
    assert furthest(flat(answers), flat(await engine(folder, "trl").logits(requests))) < CLOSE
    assert rewards._tree.tokens <= 100


async def test_a_new_read_of_a_known_part_costs_nothing(tiny: Any) -> None:
    folder = tiny("pure")
    rewards = engine(folder, "pure")
    asked = request(solution(3, 5))
    last = Request(asked.ids, asked.reads[-1:], asked.cuts)
    (first,) = await rewards.logits([last])
    assert first.computed == len(asked.ids)
    middle = Request(asked.ids, [asked.reads[1] - 2, *asked.reads], asked.cuts)
    (second,) = await rewards.logits([middle])
    assert (second.computed, second.cached) == (0, len(asked.ids))
    assert furthest(second.rows, direct(folder, "pure", middle)) < CLOSE


async def test_a_known_segment_does_not_need_what_lies_before_it(tiny: Any) -> None:
    rewards = engine(tiny("pure"), "pure")
    asked = request(solution(18, 4))
    await rewards.logits([asked])
    prompt = segments(asked, 1024)[0]
    rewards._tree._known.pop(prompt.key)
    (again,) = await rewards.logits([asked])
    assert again.computed == 0


async def test_what_follows_the_last_read_is_left_out(tiny: Any) -> None:
    asked = request(solution(4, 6))
    early = Request(asked.ids, asked.reads[:2], asked.cuts)
    (answer,) = await engine(tiny("trl"), "trl").logits([early])
    assert answer.computed == asked.cuts[2]
    assert answer.cached == 0


async def test_cuts_that_differ_give_the_same_logits(tiny: Any) -> None:
    folder = tiny("trl")
    asked = request(solution(6, 6))
    expected = direct(folder, "trl", asked)
    rewards = engine(folder, "trl")
    variants = [Request(asked.ids, asked.reads, cuts) for cuts in (asked.cuts[::2], asked.cuts, (), (1, 2, 7))]
    for answer in await rewards.logits(variants):
        assert furthest(answer.rows, expected) < CLOSE


async def test_ten_thousand_tokens(tiny: Any) -> None:
    folder = tiny("math_shepherd")
    long = request(solution(7, 130, size=100))
    assert len(long.ids) > 9_000
    rewards = engine(folder, "math_shepherd")
    before, answer = await rewards.logits([request(solution(7, 100, size=100)), long])
    assert before.computed + answer.computed == len(long.ids)
    assert furthest(answer.rows, direct(folder, "math_shepherd", long)) < 1e-4


async def test_too_long_is_an_error_that_names_the_limit(tiny: Any) -> None:
    with pytest.raises(VerifierError, match=r"2048.*max_model_len"):
        await engine(tiny("trl"), "trl").logits([request(solution(8, 260))])


async def test_a_sliding_window_is_kept(tiny: Any, tmp_path: Path) -> None:
    folder = tmp_path / "windowed"
    shutil.copytree(tiny("math_shepherd"), folder)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"sliding_window": 16}))
    grown = solution(9, 8)
    expected = direct(folder, "math_shepherd", request(grown))
    assert furthest(expected, direct(tiny("math_shepherd"), "math_shepherd", request(grown))) > 0.1
    rewards = engine(folder, "math_shepherd")
    for depth in range(2, 10):
        short = request(solution(10, depth))
        answer, _ = await rewards.logits([request(grown[:depth]), short])
        assert furthest(answer.rows, expected[: depth - 1]) < CLOSE


async def test_weights_in_several_files(tiny: Any, tmp_path: Path) -> None:
    from transformers import AutoModelForCausalLM

    AutoModelForCausalLM.from_pretrained(tiny("rlhflow")).save_pretrained(tmp_path, max_shard_size="100KB")
    assert len([name for name in os.listdir(tmp_path) if name.endswith(".safetensors")]) > 2
    asked = [request(solution(11, 3))]
    (one,) = await engine(tiny("rlhflow"), "rlhflow").logits(asked)
    (several,) = await engine(tmp_path, "rlhflow").logits(asked)
    assert furthest(one.rows, several.rows) < 1e-6


async def test_half_precision(tiny: Any) -> None:
    asked = request(solution(12, 3))
    half = TransformersRewards(str(tiny("trl")), "bfloat16", {}, head=HEADS["trl"])
    (answer,) = await half.logits([asked])
    expected = direct(tiny("trl"), "trl", asked)
    assert CLOSE < furthest(answer.rows, expected) < 0.5


async def test_closing_drops_weights_and_key_values(tiny: Any) -> None:
    rewards = engine(tiny("trl"), "trl")
    asked = [request(solution(13, 2))]
    (before,) = await rewards.logits(asked)
    rewards.close()
    assert rewards._tree.tokens == 0
    (after,) = await rewards.logits(asked)
    assert after.computed == before.computed > 0
    assert await rewards.logits([]) == []


async def test_a_head_that_is_not_there_is_named(tiny: Any) -> None:
    for family, head in (("trl", Head("value")), ("skywork", Head("labels")), ("trl", Head("words", WORDS))):
        with pytest.raises(UserError, match=r"verifier\.model=.*has no .*\.weight"):
            await TransformersRewards(str(tiny(family)), None, {}, head=head).logits([request(solution(14, 1))])


async def test_weights_that_do_not_belong_to_the_configuration(tiny: Any, tmp_path: Path) -> None:
    folder = tmp_path / "deep"
    shutil.copytree(tiny("math_shepherd"), folder)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"num_hidden_layers": 3}))
    with pytest.raises(UserError, match="lacks 9 tensors"):
        await engine(folder, "math_shepherd").logits([request(solution(15, 1))])


async def test_layers_without_key_values_are_refused(tiny: Any, tmp_path: Path) -> None:
    folder = tmp_path / "hybrid"
    shutil.copytree(tiny("trl"), folder)
    config = json.loads((folder / "config.json").read_text())
    kinds = ["full_attention", "linear_attention"]
    (folder / "config.json").write_text(json.dumps(config | {"layer_types": kinds}))
    with pytest.raises(UserError, match="linear_attention"):
        await engine(folder, "trl").logits([request(solution(17, 1))])


async def test_a_device_that_is_not_there_is_named(tiny: Any) -> None:
    with pytest.raises(UserError, match=r"verifier\.options\.device='cudaa'"):
        await engine(tiny("trl"), "trl", device="cudaa").logits([request(solution(16, 1))])


@pytest.mark.parametrize(
    ("dtype", "options", "named"),
    [
        (None, {"batchsize": 1}, "verifier.options.batchsize"),
        (None, {"batch_size": 0}, "verifier.options.batch_size"),
        (None, {"cache_tokens": -1}, "verifier.options.cache_tokens"),
        (None, {"cache_tokens": "many"}, "verifier.options.cache_tokens"),
        ("int3", {}, "verifier.dtype"),
    ],
)
def test_a_wrong_setting_is_named(tmp_path: Path, dtype: str | None, options: dict[str, Any], named: str) -> None:
    with pytest.raises(UserError) as caught:
        TransformersRewards(str(tmp_path), dtype, options)
    assert named in caught.value.message
    assert "Allowed" in caught.value.hint


def test_segments_end_at_cuts_and_are_never_longer_than_asked() -> None:
    found = segments(Request(list(range(10)), [3, 6], [2, 2, 7, 10]), 3)
    assert [(s.start, s.end) for s in found] == [(0, 2), (2, 5), (5, 7)]
    other = segments(Request([*range(5), 99, 6], [6], [2, 7]), 3)
    assert [a.key == b.key for a, b in zip(found, other, strict=True)] == [True, True, False]
    assert [(s.start, s.end) for s in segments(Request([1, 2], [1], [5]), 9)] == [(0, 2)]


def test_groups_count_what_is_shared_once() -> None:
    paths = [segments(Request([1, 2, 3, i, i], [4], [3]), 9) for i in range(5)]
    assert list(groups(paths, 7)) == [[0, 1], [2, 3], [4]]
    assert list(groups(paths, 1)) == [[i] for i in range(5)]
    assert list(groups([], 7)) == []


def test_a_tree_forgets_leaves_that_were_not_used_for_longest() -> None:
    paths = [segments(Request([1, 2, 3, i, i], [4], [3]), 9) for i in range(3)]
    tree: PrefixTree[int] = PrefixTree()
    for i, path in enumerate(paths):
        for segment in path:
            tree[segment] = i
        tree.use(path)
    assert tree.tokens == 9
    tree.use(paths[0])
    tree.trim(7)
    assert [paths[i][1] in tree for i in range(3)] == [True, False, True]
    tree.trim(3)
    assert paths[0][0] in tree
    assert tree[paths[0][0]] == 2
    tree.trim(0)
    assert tree.tokens == 0
