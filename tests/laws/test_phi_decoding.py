"""phi-decoding: its weights, its clusters, its rounds."""

from collections import Counter
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import softmax
from scipy.stats import chisquare

from ponder.errors import UserError
from ponder.samplers.scripted import Scripted
from ponder.search import select
from ponder.search.phi_decoding import PhiDecoding, cluster, tf_idf
from ponder.types import Step

TEXTS = ["two and three is five", "two and three is five", "three and two is five", "add the apples", "add apples now"]


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


@given(
    st.lists(st.tuples(st.floats(-30, 30), st.sampled_from([*TEXTS, "", "?"])), min_size=1, max_size=12),
    st.integers(1, 5),
    st.integers(0, 99),
)
def test_weights_are_positive_and_sum_to_one(paths: Any, clusters: int, seed: int) -> None:
    advantages, texts = np.array([a for a, _ in paths]), [text for _, text in paths]
    weights, share = PhiDecoding(4, clusters=clusters).weigh(advantages, texts, rng(seed))
    assert weights.sum() == pytest.approx(1.0)
    assert np.all(weights > 0)
    assert 1 / clusters <= share + 1e-12
    assert share <= 1


def test_weights_are_the_mean_of_two_softmaxes() -> None:
    advantages = np.array([0.1, -0.2, 0.0, 0.05, -0.1])
    strategy = PhiDecoding(4, clusters=2, temperature=0.2, cluster_temperature=0.5)
    weights, share = strategy.weigh(advantages, ["a b", "a b", "a b", "c d", "c d"], rng())
    shares = np.array([0.6, 0.6, 0.6, 0.4, 0.4])
    assert weights == pytest.approx((softmax(advantages / 0.2) + softmax(shares / 0.5)) / 2)
    assert share == pytest.approx(0.6)


@pytest.mark.parametrize("seed", range(10))
def test_clusters_hold_what_is_alike(seed: int) -> None:
    labels = cluster(["a b c", "x y", "a b c d", "x y z", "c b a"], 2, rng(seed))
    assert labels[0] == labels[2] == labels[4] != labels[1] == labels[3]


def test_clusters_are_the_same_under_the_same_seed() -> None:
    assert all(cluster(TEXTS, 3, rng(s)).tolist() == cluster(TEXTS, 3, rng(s)).tolist() for s in range(20))


@given(st.lists(st.text("ab 1", max_size=8), min_size=1, max_size=9), st.integers(1, 4), st.integers(0, 9))
def test_equal_texts_share_a_cluster_and_few_make_few(texts: Any, k: int, seed: int) -> None:
    labels = cluster(texts, k, rng(seed))
    assert all(labels[i] == labels[texts.index(text)] for i, text in enumerate(texts))
    assert len(set(labels)) <= min(k, len(set(texts)))


def test_vectors_weigh_rare_words_more_and_have_length_one() -> None:
    vectors = tf_idf(["a b", "a c c", "!"])  # words a, b, c
    a, b = np.log(4 / 3) + 1, np.log(4 / 2) + 1
    assert vectors[0] == pytest.approx(np.array([a, b, 0]) / np.hypot(a, b))
    assert vectors[1] == pytest.approx(np.array([a, 0, 2 * b]) / np.hypot(a, 2 * b))
    assert vectors[2] == pytest.approx(np.zeros(3))


def same(trace: Any, seed: int) -> Step:
    return Step("same words\n", (1, 2), (-0.5, -0.5), "eos" if len(trace) == 9 else "stop")


@pytest.mark.parametrize(("rounds", "least", "agreement"), [(8, 1, 1.0), (8, 3, 0.7), (2, 4, 0.7)])
def test_agreement_ends_the_rounds_early(lab: Any, rounds: int, least: int, agreement: float) -> None:
    """All paths are alike: one cluster. Each round reports once, its candidates and the completion once more."""
    strategy = PhiDecoding(4, 2, rounds=rounds, least_rounds=least, agreement=agreement)
    population, ctx = lab.run(strategy, Scripted(same))
    assert len(ctx.reports) == min(rounds, least) + 2
    assert all(trace.finished and len(trace) == 10 for trace in population.traces)


def test_paths_that_differ_do_not_end_the_rounds(lab: Any) -> None:
    """Four candidates of four different words: no cluster of three holds more than half."""

    def script(trace: Any, seed: int) -> Step:
        word = trace.text[0] if trace.steps else "wxyz"[seed % 4]
        return Step(f"{word} ", (ord(word),), (-0.5,), "eos" if len(trace) == 5 else "stop")

    for agreement, rounds in ((0.7, 3), (0.5, 1)):
        strategy = PhiDecoding(4, 4, rounds=3, least_rounds=1, agreement=agreement)
        population, ctx = lab.run(strategy, Scripted(script))
        assert len(ctx.reports) == rounds + 2
        assert {trace.text[0] for trace in population.traces} == set("wxyz")


def test_every_round_draws_n_candidates_and_looks_ahead(lab: Any) -> None:
    """Ten steps: 6 candidates a round, 9 and then 8 steps ahead of each; at last 2 beams of 8. 2 tokens a step."""
    sampler = Scripted(same)
    _, ctx = lab.run(PhiDecoding(6, 2, rounds=2), sampler)
    assert ctx.ledger.total.new_tokens == 2 * (6 * 10 + 6 * 9 + 2 * 8)
    assert ctx.ledger.total.samples == 6
    _, ctx = lab.run(PhiDecoding(6, 2, rounds=2, foresight_steps=3), sampler)
    assert ctx.ledger.total.new_tokens == 2 * (6 * 4 + 6 * 4 + 2 * 8)


def surer(trace: Any, seed: int) -> Step:
    """Two beginnings, of which b leads to sure steps and a, though itself surer, to unsure ones."""
    if not trace.steps:
        return Step("a ", (1,), (-0.1,)) if seed % 2 else Step("b ", (2,), (-0.3,))
    u = 0.01 if trace.text[0] == "b" else 2.0
    return Step(f"{trace.text[0]} ", (3,), (-u,), "eos" if len(trace) == 4 else "stop")


def test_a_step_is_judged_by_where_it_leads(lab: Any) -> None:
    """The advantage nearly decides at a low temperature; alignment gives each path of two clusters its part."""
    strategy = PhiDecoding(4, 1, rounds=1, prune=None, temperature=0.01, cluster_temperature=0.02)
    found = Counter(
        population.traces[0].text[0] for population, _ in lab.many(strategy, Scripted(surer), seeds=range(100))
    )
    assert found["b"] > 60


def test_pruned_candidates_have_no_foresight(lab: Any) -> None:
    """One of eight candidates is far less likely than the rest; it never shows among the paths."""

    def script(trace: Any, seed: int) -> Step:
        if not trace.steps:
            script.drawn += 1  # type: ignore[attr-defined]
            return Step("odd ", (9,), (-5.0,)) if script.drawn % 8 == 0 else Step("even ", (8,), (-0.2,))  # type: ignore[attr-defined]
        return Step("end", (7,), (-0.1,), "eos")

    for prune, odd in ((1.0, 0), (None, 1), (100.0, 1)):
        script.drawn = 0  # type: ignore[attr-defined]
        _, ctx = lab.run(PhiDecoding(8, 2, rounds=1, prune=prune), Scripted(script))
        paths = ctx.reports[1].population.traces
        assert sum(trace.text.startswith("odd") for trace in paths) == odd
        assert len(paths) == 7 + odd


def test_beams_are_drawn_by_weight(lab: Any) -> None:
    """One cluster, so that the weights are the mean of the advantages' softmax and of even shares."""
    sure = {"w": -0.1, "x": -0.2, "y": -0.3, "z": -0.4}

    def script(trace: Any, seed: int) -> Step:
        word = "wxyz"[seed % 4]
        return Step(word, (ord(word),), (sure[word],), "eos")

    strategy, runs = PhiDecoding(4, 1, rounds=1, prune=None, temperature=0.15, clusters=1), 400
    exact = (softmax(np.array(list(sure.values())) / 0.15) + 0.25) / 2
    found = Counter(
        population.traces[0].text for population, _ in lab.many(strategy, Scripted(script), seeds=range(runs))
    )
    assert chisquare([found[word] for word in sure], exact * runs).pvalue > 1e-3, (found, exact)


def test_an_ended_beam_stands_once_and_gains_nothing(lab: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Half of the first candidates end at once; the advantage of an ended beam is nought in each later round."""

    def script(trace: Any, seed: int) -> Step:
        if not trace.steps:
            return Step("end", (1,), (-0.7,), "eos") if seed % 2 else Step("go ", (2,), (-0.7,))
        return Step("on ", (3,), (-0.1 * len(trace),), "eos" if len(trace) == 6 else "stop")

    seen: list[tuple[Any, Any]] = []
    weigh = PhiDecoding.weigh

    def spied(self: PhiDecoding, advantages: Any, texts: Any, chance: Any) -> Any:
        seen.append((advantages, texts))
        return weigh(self, advantages, texts, chance)

    monkeypatch.setattr(PhiDecoding, "weigh", spied)
    strategy, at_last = PhiDecoding(8, 4, rounds=3, prune=None, temperature=10.0, least_rounds=3), 0
    for seed in range(8):
        seen.clear()
        population, _ = lab.run(strategy, Scripted(script), seed=seed)
        ended = [[a for a, text in zip(*one, strict=True) if text == "end"] for one in seen]
        assert ended[0] == [-0.7] * 4
        assert all(advantage == 0 for later in ended[1:] for advantage in later)
        assert len(seen) == 1 or len(seen[1][1]) == len(ended[1]) + 2 * (4 - len(ended[1]))
        assert len(population) == 4
        at_last += len(ended[-1]) if len(seen) == 4 else 0
    assert at_last > 0


def test_every_completion_is_a_solution(lab: Any, uneven: Any) -> None:
    """Rounds beyond the longest solution change nothing; every report's weights sum to one."""
    for population, ctx in lab.many(PhiDecoding(8, 4, least_rounds=8), uneven, seeds=range(30)):
        assert len(population) == 4
        assert all(trace.finished for trace in population.traces)
        for report in ctx.reports[1:]:
            assert np.exp(report.population.log_weights).sum() == pytest.approx(1.0)


def test_the_heaviest_completion_is_selected(lab: Any) -> None:
    strategy = PhiDecoding(8, 2, rounds=1, prune=None, temperature=0.01, cluster_temperature=100.0)
    for population, _ in lab.many(strategy, Scripted(surer), seeds=range(20)):
        answer = select.argmax(population, lambda trace: trace.text, rng())
        assert answer == population.traces[int(np.argmax(population.log_weights))].text


def test_no_verifier_is_asked(lab: Any, even: Any, table: Any) -> None:
    lab.run(PhiDecoding(8, 4), even, table)
    assert table.calls == 0


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("width", 3),
        ("width", 0),
        ("rounds", 0),
        ("foresight_steps", 0),
        ("prune", 0.0),
        ("temperature", 0.0),
        ("cluster_temperature", float("inf")),
        ("clusters", 0),
        ("agreement", 0.0),
        ("agreement", 1.1),
        ("least_rounds", 0),
    ],
)
def test_values_out_of_range_are_named(key: Any, value: Any) -> None:
    with pytest.raises(UserError, match=rf"search\.{key}={value!r}") as caught:
        PhiDecoding(4, **{key: value})
    assert "allowed" in caught.value.hint
