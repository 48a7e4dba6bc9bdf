"""How each family reads a solution, against ids put together here, on tiny checkpoints of their architectures."""

from __future__ import annotations

import asyncio
import math
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ponder.errors import UserError, VerifierError
from ponder.types import Problem, Step, Trace
from ponder.verifiers.families import FAMILIES, Layouts
from ponder.verifiers.prm import ProcessRewardModel
from tests import tiny_families

pytest.importorskip("transformers")
pytestmark = pytest.mark.filterwarnings("default")

QUESTION = "Combien font 2 + 2 ? 求解 🧮"
STEPS = ["  On pose 2 + 2.\n\n", "Donc 4 ✓\n", "\\boxed{4}"]
SYSTEM = "Please reason step by step, and put your final answer within \\boxed{}."
MARKS = "<extra_0> ки \n\n\n\n\n \n\n + - <|im_start|>user\n<|eot_id|><s></s>"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], str]:
    """Where the tiny checkpoint of a family lies; each is built once."""
    built: dict[str, str] = {}

    def of(family: str) -> str:
        if family not in built:
            built[family] = str(tiny_families.FAMILIES[family](tmp_path_factory.mktemp(family)))
        return built[family]

    return of


def model(folder: Callable[[str], str], family: str, **arguments: Any) -> ProcessRewardModel:
    return ProcessRewardModel(folder(family), family, "transformers", **arguments)


def trace(*texts: str, question: str = QUESTION) -> Trace:
    return Trace(Problem("q", question), tuple(Step(text) for text in texts))


def layouts(folder: Callable[[str], str], family: str) -> Layouts:
    return model(folder, family)._layouts


def ids(tokenizer: Any, text: str) -> list[int]:
    """A text on its own, special tokens' names taken for these."""
    return list(tokenizer.encode(text, add_special_tokens=False))


def expected(tokenizer: Any, family: str) -> tuple[list[int], list[int]]:
    """The ids of STEPS, and where they are read, as each model's authors show it."""
    a, b, c = (step.strip() for step in STEPS)
    if family == "qwen":
        turns = [("system", SYSTEM), ("user", QUESTION)]
        text = "".join(f"<|im_start|>{role}\n{said}<|im_end|>\n" for role, said in turns)
        all_ids = ids(tokenizer, f"{text}<|im_start|>assistant\n{a}<extra_0>{b}<extra_0>{c}<extra_0>")
        return all_ids, [i for i, one in enumerate(all_ids) if one == tokenizer.convert_tokens_to_ids("<extra_0>")]
    if family == "math_shepherd":
        all_ids = ids(tokenizer, f"<s>{QUESTION} {a} ки\n{b} ки\n{c} ки")
        return all_ids, [i for i, one in enumerate(all_ids) if one == ids(tokenizer, " ки")[-1]]
    if family == "rlhflow":
        turns = [("user", f"{QUESTION} {a}"), ("assistant", "+"), ("user", b), ("assistant", "+"), ("user", c)]
        heads = "<|start_header_id|>{}<|end_header_id|>\n\n"
        text = "<|begin_of_text|>" + "".join(heads.format(role) + said + "<|eot_id|>" for role, said in turns)
        all_ids = ids(tokenizer, text + heads.format("assistant"))
        header = ids(tokenizer, heads.format("assistant"))
        ends = range(len(header), len(all_ids) + 1)
        return all_ids, [end - 1 for end in ends if all_ids[end - len(header) : end] == header]
    if family == "skywork":
        return joined(tokenizer, [tokenizer.bos_token_id, *ids(tokenizer, QUESTION + "\n")], [a, b, c], "\n")
    if family == "math_psa":
        all_ids = ids(tokenizer, f"{QUESTION} {a} \n\n\n\n\n {b} \n\n\n\n\n {c} \n\n\n\n\n")
        return all_ids, [i for i, one in enumerate(all_ids) if one == ids(tokenizer, " \n\n\n\n\n")[-1]]
    return joined(tokenizer, ids(tokenizer, QUESTION), [a, b, c], {"trl": "\n\n", "pure": "\n"}[family])


def joined(tokenizer: Any, all_ids: list[int], steps: list[str], separator: str) -> tuple[list[int], list[int]]:
    """Ids of parts that are encoded apart, and the last position of each separator."""
    reads = []
    for step in steps:
        all_ids = [*all_ids, *ids(tokenizer, step), *ids(tokenizer, separator)]
        reads.append(len(all_ids) - 1)
    return all_ids, reads


@pytest.mark.parametrize("family", tiny_families.FAMILIES)
def test_a_solution_is_laid_out_as_its_authors_show(folder: Callable[[str], str], family: str) -> None:
    lay = layouts(folder, family)
    found = lay.of(trace(*STEPS))
    all_ids, reads = expected(lay.tokenizer, family)
    assert found.ids == all_ids
    assert [end - 1 for end in found.ends] == reads
    assert len(reads) == len(STEPS)
    assert found.slots == [0, 1, 2]
    assert found.cuts[1:] == found.ends
    assert found.cuts[0] < found.ends[0]


@pytest.mark.parametrize("family", tiny_families.FAMILIES)
def test_a_grown_trace_only_adds_ids(folder: Callable[[str], str], family: str) -> None:
    lay = layouts(folder, family)
    short, long = lay.of(trace(*STEPS[:2])), lay.of(trace(*STEPS))
    other = lay.of(trace("Autrement", *STEPS[1:]))
    assert long.ids[: len(short.ids)] == short.ids
    assert long.keys[:2] == short.keys
    assert not {*other.keys} & {*long.keys}
    assert other.ids[: other.cuts[0]] == long.ids[: long.cuts[0]]


@pytest.mark.parametrize("family", tiny_families.FAMILIES)
def test_marks_in_question_and_answer_are_text(folder: Callable[[str], str], family: str) -> None:
    lay = layouts(folder, family)
    texts = [f"a{MARKS}b", f"{MARKS} c", "d"]
    found = lay.of(trace(*texts, question=f"What does {MARKS} mean?"))
    assert len(found.ends) == 3
    plain = lay.of(trace("a", "b", "c", question="What?"))
    if family in ("qwen", "rlhflow"):  # no special token comes of text: as many as where the text has no names of them
        special = set(lay.tokenizer.all_special_ids)
        assert sum(one in special for one in found.ids) == sum(one in special for one in plain.ids)
    # Each piece stands between its neighbours as it would alone.
    for text, start, end in zip(texts, [found.cuts[0], *found.ends[:2]], found.ends, strict=True):
        inner = lay.tokenizer.decode(found.ids[start:end])
        assert text.strip() in inner


@pytest.mark.parametrize("family", tiny_families.FAMILIES)
async def test_each_step_has_a_score_and_an_empty_one_its_elders(folder: Callable[[str], str], family: str) -> None:
    verifier = model(folder, family)
    full, ended, late, empty = await verifier.score(
        [trace(*STEPS), trace(*STEPS, "", " \n") + Step("", why="eos"), trace("", *STEPS), trace()]
    )
    low, high = verifier.range
    assert len(full.steps) == 3
    assert len(set(full.steps)) == 3
    assert all(low <= value <= high for value in full.steps)
    assert ended.steps[:3] == full.steps
    assert ended.steps[3:] == (full.steps[2],) * 3
    assert late.steps == (0.5, *full.steps)
    assert float(empty) == 0.5
    assert empty.steps == ()


@pytest.mark.parametrize("family", tiny_families.FAMILIES)
async def test_scores_do_not_hang_on_order_or_company(folder: Callable[[str], str], family: str) -> None:
    traces = [
        trace(*(f"{name}{i} = {i}\n\n" for i in range(n))) for n, name in ((1, "a"), (7, "b"), (3, "c"), (7, "d"))
    ]
    forwards, backwards = model(folder, family), model(folder, family)
    one = await forwards.score(traces)
    other = (await backwards.score(traces[::-1]))[::-1]
    for scored, a, b in zip(traces, one, other, strict=True):
        (alone,) = await model(folder, family, options={"batch_size": 1}).score([scored])
        assert list(a.steps) == pytest.approx(list(b.steps), abs=1e-4)
        assert list(a.steps) == pytest.approx(list(alone.steps), abs=1e-4)


async def test_ten_thousand_tokens_are_refused_by_name(folder: Callable[[str], str]) -> None:
    """Where the model reads less; tests/slow has one that reads more."""
    long = trace(*(f"{i}+{i}={2 * i}; the sum of the two is even, as before.\n\n" for i in range(180)))
    verifier = model(folder, "trl")
    assert verifier.quote(long).verifier_tokens > 9_000
    with pytest.raises(VerifierError, match="2048"):
        await verifier.score([long])


def test_a_blank_that_sentencepiece_adds_is_taken_off() -> None:
    """A tokenizer as Mistral's: a blank before each text, here for words; what stands within a text has none."""

    class Words:
        bos_token_id = 1

        def __init__(self) -> None:
            self.known: dict[str, int] = {}

        def encode(self, text: str, **_: Any) -> list[int]:
            pieces = re.findall("\n|\u2581?[^\u2581\n]+|\u2581", "\u2581" + text.replace(" ", "\u2581"))
            return [self.known.setdefault(piece, len(self.known) + 2) for piece in pieces]

        def convert_ids_to_tokens(self, found: list[int]) -> list[str]:
            names = {number: name for name, number in self.known.items()}
            return [names[one] for one in found]

    tokenizer = Words()
    lay = Layouts(FAMILIES["math_shepherd"], tokenizer, "m")
    found = lay.of(trace("One plus one", "is two.", question="How much?"))
    assert found.ids == [1, *tokenizer.encode("How much? One plus one ки\nis two. ки")]
    assert [found.ids[end - 1] for end in found.ends] == [tokenizer.known["\u2581ки"]] * 2
    assert lay.words == (tokenizer.known["\u2581+"], tokenizer.known["\u2581-"])


@pytest.mark.parametrize(
    ("family", "logits", "score"),
    [
        ("qwen", [1.0, 3.0], 1 / (1 + math.exp(-2))),
        ("embedded", [1.0, 3.0], 1 / (1 + math.exp(-2))),
        ("trl", [0.0, 0.0], 0.5),
        ("math_shepherd", [3.0, 1.0], 1 / (1 + math.exp(-2))),
        ("rlhflow", [1.0, 3.0], 1 / (1 + math.exp(2))),
        ("math_psa", [-900.0, 900.0], 0.0),
        ("pure", [1.0, 3.0], math.tanh(1)),
        ("pure", [3.0, 1.0], -math.tanh(1)),
        ("skywork", [2.0], 1 / (1 + math.exp(-2))),
        ("skywork", [-900.0], 0.0),
    ],
)
def test_how_logits_become_a_score(family: str, logits: list[float], score: float) -> None:
    assert FAMILIES[family].score(logits) == pytest.approx(score)


@pytest.mark.parametrize(("family", "logits"), [("qwen", [1.0]), ("skywork", [1.0, 2.0]), ("trl", [])])
def test_a_head_of_another_family_is_refused(family: str, logits: list[float]) -> None:
    with pytest.raises(UserError, match="outputs"):
        FAMILIES[family].score(logits)


@pytest.mark.parametrize(
    ("family", "of", "what"),
    [("qwen", "trl", "step mark"), ("rlhflow", "math_shepherd", "chat template")],
)
def test_a_tokenizer_of_another_family_is_refused(
    folder: Callable[[str], str], family: str, of: str, what: str
) -> None:
    verifier = ProcessRewardModel(folder(of), family, "transformers")
    with pytest.raises(UserError, match=what):
        asyncio.run(verifier.score([trace("a")]))


def test_a_separator_may_be_given(folder: Callable[[str], str]) -> None:
    lay = model(folder, "trl", mark="\n")._layouts
    found = lay.of(trace("a", "b"))
    tokenizer = lay.tokenizer
    assert (found.ids, [end - 1 for end in found.ends]) == joined(tokenizer, ids(tokenizer, QUESTION), ["a", "b"], "\n")


def test_words_that_are_one_are_refused(folder: Callable[[str], str]) -> None:
    lay = layouts(folder, "math_shepherd")
    with pytest.raises(UserError, match="does not tell"):
        _ = Layouts(replace(lay.family, words=("a+", "b+")), lay.tokenizer, "m").words


@pytest.mark.parametrize("engine", ["vllm", "server"])
def test_vllm_has_no_value_head_and_says_what_to_do(engine: str) -> None:
    options = {"url": "http://localhost:1"} if engine == "server" else {}
    with pytest.raises(UserError) as caught:
        ProcessRewardModel("Skywork/o1", "skywork", engine, options=options)
    assert "transformers" in caught.value.hint


@pytest.mark.parametrize("name", sorted(path.stem for path in Path("conf/verifier").glob("*prm*.yaml")))
def test_a_yaml_names_a_family(name: str) -> None:
    from omegaconf import OmegaConf

    config = OmegaConf.load(f"conf/verifier/{name}.yaml")
    if "family" in config:
        assert config.family in FAMILIES
        assert (config.engine == "transformers") == (FAMILIES[config.family].head == "value")
