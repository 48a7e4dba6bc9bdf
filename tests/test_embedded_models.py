"""The committed weights: tokenizer round trip, the policy solves some problems, the reward model finds errors."""

from __future__ import annotations

import itertools
import random
import re
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

from ponder.scripts.embedded import evaluate, models, revisions, vocabulary  # noqa: E402
from ponder.scripts.embedded.mistakes import KINDS, corrupt, drill, gold_steps, label, prompt_ids, split  # noqa: E402
from ponder.tasks import embedded  # noqa: E402
from ponder.tasks.arithmetic import Arithmetic, Chain, check, settled  # noqa: E402
from ponder.types import Problem, Step, Trace  # noqa: E402

FOLDER = Path(embedded.__file__).parent


def chains(level: int, limit: int, seed: int = 11) -> list[Chain]:
    found = [Chain.parse(p.prompt) for p in Arithmetic(level=level, limit=limit, seed=seed).problems()]
    return [chain for chain in found if chain is not None]


@pytest.fixture(scope="module", params=["policy", "prm", "draft", "reviser"])
def tokenizer(request):
    kind = transformers.PreTrainedTokenizerFast if request.param == "prm" else transformers.AutoTokenizer
    return kind.from_pretrained(FOLDER / request.param)


def test_encoding_loses_nothing(tokenizer) -> None:
    assert len(tokenizer) < 200
    for chain in chains(5, 20):
        for text in (chain.prompt, chain.solution):
            assert tokenizer.decode(tokenizer.encode(text)) == text
    assert len(tokenizer.encode(chains(3, 1)[0].solution)) == 45


def test_unknown_text_does_not_crash(tokenizer) -> None:
    ids = tokenizer.encode("Ünknown\t\u4e2d text, 17?")
    assert tokenizer.unk_token_id in ids
    assert tokenizer.encode("17?") == ids[-2:]


def test_chat_template(tokenizer) -> None:
    chain = chains(3, 1)[0]
    user = {"role": "user", "content": chain.prompt}
    asked = tokenizer.apply_chat_template([user], add_generation_prompt=True, return_dict=False)
    assert asked == prompt_ids(chain)
    assert asked == tokenizer.apply_chat_template(
        [{"role": "system", "content": "Be brief."}, user], add_generation_prompt=True, return_dict=False
    )
    begun = {"role": "assistant", "content": chain.solution[:10]}
    going_on = tokenizer.apply_chat_template([user, begun], continue_final_message=True, return_dict=False)
    assert going_on == asked + tokenizer.encode(chain.solution[:10])
    closed = tokenizer.apply_chat_template([user, begun], return_dict=False)
    assert closed == [*going_on, tokenizer.eos_token_id]


def test_reward_input_is_the_chat_template(tokenizer) -> None:
    chain = chains(2, 1)[0]
    steps = gold_steps(chain)
    content = "".join(tokenizer.decode(step) + vocabulary.MARK for step in steps)
    messages = [{"role": "user", "content": chain.prompt}, {"role": "assistant", "content": content}]
    row = label(chain, steps)
    assert tokenizer.apply_chat_template(messages, return_dict=False)[:-1] == row.ids
    assert row.marks[-1] == len(row.ids) - 1


def test_labels_are_those_of_the_checker() -> None:
    tokens, rng = vocabulary.build(), random.Random(3)
    for problem, make in itertools.product(Arithmetic(level=3, limit=60, seed=5).problems(), (corrupt, drill)):
        chain = Chain.parse(problem.prompt)
        assert chain is not None
        steps = make(chain, rng)
        trace = Trace(problem, tuple(Step(tokens.decode(step)) for step in steps))
        row = label(chain, steps)
        assert row.right == check(problem, trace)
        agreed = all(row.ids[at] == token for at, token in row.expected)
        assert row.right[-1] <= agreed, "a right solution surprises nowhere"
    assert len(KINDS) > 10


def test_step_auc_by_hand() -> None:
    assert evaluate.auc(np.array([0.9, 0.8]), np.array([0.1, 0.8])) == pytest.approx(0.875)


def test_sampling_is_seeded() -> None:
    policy = models.load_policy(FOLDER / "policy")
    prompts = torch.tensor([prompt_ids(chain) for chain in chains(1, 4)])
    first, again, other = (models.sample(policy, prompts, 4, 30, seed) for seed in (1, 1, 2))
    assert first == again != other
    assert all(len(split(tokens)) >= 1 for part in first for tokens in part)


def test_committed_weights_hold_a_small_gate() -> None:
    table = evaluate.measure(evaluate.judge(FOLDER, level=3, problems=20, samples=8, seed=12))
    assert 0.15 < table["single"] < 0.75
    assert table["pass"][8] > 0.6
    assert table["auc"] > 0.95
    assert table["missed"] < 0.15
    assert table["best"][8] > table["single"] + 0.15


def test_weights_are_small() -> None:
    files = list(FOLDER.rglob("model.safetensors"))
    assert len(files) == 4
    assert sum(file.stat().st_size for file in files) < 6_000_000
    assert (FOLDER / "draft" / "model.safetensors").stat().st_size < 1_000_000


def test_second_thoughts_are_written_as_the_task_reads_them() -> None:
    """The teacher of the reviser: the task reads its last word as a whole solution; what it is told has no weight."""
    tokens, counts = vocabulary.build(), [0, 0]
    ids, weights = revisions.lesson(np.random.default_rng(3), 6000, 6)
    for row, weight in zip(ids.tolist(), weights.tolist(), strict=True):
        text = tokens.decode([token for token in row if token != vocabulary.ID[vocabulary.PAD]])
        asked, _, written = text.removeprefix(vocabulary.USER).partition(vocabulary.ASSISTANT)
        chain = Chain.parse(asked)
        assert chain is not None
        trace = Trace(Problem("toy", asked), (Step(written.removesuffix(vocabulary.EOS), why="eos"),))
        stands = settled(trace).text
        lines = stands.split("\n\n")
        value, results = f"{chain.start:02d}", []
        for line, letter, (sign, operand) in zip(lines, "abcdefgh", chain.operations, strict=False):
            assert line.startswith(f"{letter}{value}{sign}{operand}="), stands
            value = line[-2:]
            results.append(value)
        assert lines[len(results) :] == [rf"\boxed{{{value}}}"], stands
        assert len(results) == len(chain.operations)
        begun = len(tokens.encode(asked)) + 2
        assert not any(weight[:begun])
        questions = [at for at, token in enumerate(row) if token == vocabulary.ID["?"] and at > begun]
        assert all(weight[at] == 0 == weight[at - 1] and weight[at + 1] > 1 for at in questions)
        counts[0] += len(questions)
        counts[1] += 1
    assert 0.5 < counts[0] / counts[1] < 3


def test_the_reviser_is_the_policy_with_second_thoughts() -> None:
    """Told `?`, it names a step, redoes it and comes to an end; untold, it never begins to."""
    policy, reviser = (models.load_policy(FOLDER / name) for name in ("policy", "reviser"))
    problems = chains(3, 40)
    prompts = torch.tensor([prompt_ids(chain) for chain in problems])
    alone, told = (models.sample(model, prompts, 4, 60, 5) for model in (policy, reviser))
    assert not any(vocabulary.ID["?"] in tokens for part in told for tokens in part)

    def right(drawn: list[list[list[int]]]) -> float:
        pairs = [(chain, split(tokens)) for chain, part in zip(problems, drawn, strict=True) for tokens in part]
        return float(np.mean([steps[-1:] == gold_steps(chain)[-1:] for chain, steps in pairs]))

    assert abs(right(alone) - right(told)) < 0.15
    ask = [vocabulary.ID[vocabulary.STEP_END], vocabulary.ID["?"]]
    whole = [(prompt, part[0][:-1]) for prompt, part in zip(prompts.tolist(), told, strict=True) if len(part[0]) == 46]
    assert len(whole) > 30
    again = torch.tensor([[*prompt, *solution, *ask] for prompt, solution in whole])
    replies = [vocabulary.build().decode(reply) for (reply,) in models.sample(reviser, again, 1, 60, 6)]
    form = re.compile(r"([a-f])\n\n\1\d\d[-+*]\d=\d\d\n\n.*\\boxed\{\d\d\}<eos>", re.DOTALL)
    assert sum(bool(form.fullmatch(reply)) for reply in replies) >= 0.95 * len(replies)


def test_the_draft_is_smaller_and_worse() -> None:
    policy, draft = (models.load_policy(FOLDER / name) for name in ("policy", "draft"))
    assert sum(p.numel() for p in draft.parameters()) < sum(p.numel() for p in policy.parameters()) / 4
    problems = chains(3, 100)
    prompts = torch.tensor([prompt_ids(chain) for chain in problems])
    right = []
    for model in (policy, draft):
        drawn = models.sample(model, prompts, 4, 60, 5)
        labels = [label(c, split(s)).right for c, part in zip(problems, drawn, strict=True) for s in part]
        right.append(np.mean([len(of) == 7 and all(of) for of in labels]))
    assert 0.1 < right[1] < right[0] - 0.05
