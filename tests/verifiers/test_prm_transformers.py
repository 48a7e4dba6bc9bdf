"""The transformers engine of reward models: equal to a plain forward, at linear cost."""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from ponder.errors import UserError, VerifierError
from ponder.verifiers.prefix_tree import segments
from ponder.verifiers.prm_transformers import TransformersRewards
from ponder.verifiers.rewards import Answer, Head, Request
from tests.tiny_families import FAMILIES, OUTCOMES

pytest.importorskip("torch")
pytestmark = pytest.mark.filterwarnings("default")

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
                logits = states @ tensors["score.weight"].T
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
    print(f"{family}: {furthest(together, expected):.1e}")  # noqa: T201
    assert furthest(together, expected) < 1e-4
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
                assert furthest(answer.rows, expected[i]) < 1e-4
