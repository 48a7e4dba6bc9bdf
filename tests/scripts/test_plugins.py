"""A user's parts: one Python file and one yaml outside the repository, against the built wheel."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.scripts.command import Done, ponder_here, rows, runs, user_folder
from tests.wheel import ROOT, outside

VERIFIER = """\
class Vowels:
    def __init__(self, bonus=0.0):
        self.bonus = bonus

    def score(self, traces):
        return [0.1 + 0.1 * self.bonus + sum(c in "aeiou" for c in t.text) % 5 / 10 for t in traces]
"""

STRATEGY = '''\
from ponder.types import Population


class Twice:
    """Samples, keeps the better half, samples as many again."""

    def __init__(self, n, keep=0.5):
        self.n = n
        self.keep = keep

    async def __call__(self, problem, ctx):
        first = await ctx.sample(problem, self.n)
        scores = await ctx.score(first)
        best = [first[i] for i in scores.argsort()[::-1][: max(1, int(self.n * self.keep))]]
        ctx.report(Population.equal(best))
        return Population.equal([*best, *await ctx.sample(problem, self.n)])
'''

TASK = '''\
from ponder.types import Problem


class Letters:
    """How many letters does a word have?"""

    def __init__(self, words):
        self.words = list(words)

    def problems(self):
        return [Problem(word, f"How many letters has {word}?") for word in self.words]

    def answer(self, trace):
        return trace.text.rpartition("{")[2].rstrip("}") or None

    def grade(self, problem, answer):
        return answer == str(len(problem.id))
'''

SAMPLER = '''\
from ponder.types import Cost, Step


class Parrot:
    """Says the prompt again; needs nothing of ponder but its values."""

    def __init__(self, words=2):
        self.words = words

    async def sample(self, trace, n, until, *, seed):
        text = " ".join(trace.problem.prompt.split()[: self.words])
        tokens = tuple(range(self.words))
        return [Step(text, tokens, (), "eos", Cost(new_tokens=self.words)) for i in range(n)]

    async def probe(self, trace, suffix, choices):
        return [1 / len(choices)] * len(choices)
'''

VOWELS = ("verifier", "vowels", VERIFIER, "_target_: vowels.Vowels\nbonus: 0.5\n")


@pytest.fixture(scope="session")
def ponder_outside(installed_wheel: Path):
    """Runs an installed command, `ponder` or another, in a user's folder, where the checkout is not to be seen."""

    def command(folder: Path, *given: str, name: str = "ponder") -> Done:
        script = [sys.executable, str(installed_wheel / "bin" / name), "--config-dir", "conf", *given]
        done = subprocess.run(
            script, cwd=folder, env=outside(installed_wheel), capture_output=True, text=True, check=False
        )
        return Done(done.returncode, done.stdout, done.stderr)

    return command


def test_the_installed_copy_is_the_one_that_runs(ponder_outside, installed_wheel: Path, tmp_path: Path) -> None:
    where = "from pathlib import Path\nimport ponder\nPath('where').write_text(ponder.__file__)\n"
    user_folder(tmp_path, "verifier", "vowels", where + VERIFIER, VOWELS[3])
    ponder_outside(tmp_path, "debug=scripted", "verifier=vowels", "task.limit=1").well()
    assert Path((tmp_path / "where").read_text()).is_relative_to(installed_wheel)
    assert not tmp_path.is_relative_to(ROOT)


def test_a_verifier(ponder_outside, tmp_path: Path) -> None:
    user_folder(tmp_path, *VOWELS)
    given = ("debug=scripted", "verifier=vowels", "budget.n=4", "search=particle_filtering,best_of_n")
    ponder_outside(tmp_path, "-m", *given, "verifier.bonus=2").well()
    found = runs(tmp_path / "runs")
    assert len(found) == 2
    assert {path.name.split("-")[1] for path in found} == {"particle_filtering", "best_of_n"}
    for path in found:
        for row in rows(path):
            assert row["error"] is None
            assert row["cost"]["verifier"]["verifier_calls"] > 0
            for trace in row["traces"]:
                vowels = sum(letter in "aeiou" for letter in "".join(trace["steps"]))
                assert trace["score"] == pytest.approx(0.1 + 0.2 + vowels % 5 / 10)
    assert "BROKEN" not in ponder_outside(tmp_path, "verifier=vowels", name="ponder-check").well().out
    ponder_outside(tmp_path, "run=runs", "verifier=vowels", "verifier.bonus=1", name="ponder-rescore").well()
    assert len(runs(tmp_path / "runs")) == 4
    for path in found:
        (sibling,) = (tmp_path / "runs").glob(f"{path.name}-rescored-vowels-*")
        scores = {"".join(trace["steps"]): trace["score"] for row in rows(path) for trace in row["traces"]}
        for row in rows(sibling):
            for trace in row["traces"]:
                assert trace["score"] == pytest.approx(scores["".join(trace["steps"])] - 0.1)


def test_a_strategy(ponder_outside, tmp_path: Path) -> None:
    user_folder(tmp_path, "search", "twice", STRATEGY, "_target_: twice.Twice\nn: ${budget.n}\nkeep: 0.5\n")
    ponder_outside(tmp_path, "debug=scripted", "search=twice", "search.keep=0.25", "budget.n=8").well()
    (run,) = runs(tmp_path / "runs")
    assert run.name.startswith("arithmetic-twice-n8-")
    for row in rows(run):
        assert row["error"] is None
        assert len(row["population"]) == 2 + 8
        assert len(row["reports"][0]["population"]) == 2
        assert row["cost"]["policy"]["samples"] == 16


def test_a_task(ponder_outside, tmp_path: Path) -> None:
    yaml = "# @package _global_\ntask:\n  _target_: letters.Letters\n  words: [a, it, the]\nstep:\n  max_tokens: 50\n"
    user_folder(tmp_path, "task", "letters", TASK, yaml)
    given = ("sampler=scripted", "verifier=constant", "task=letters", "search=self_consistency", "budget.n=16")
    ponder_outside(tmp_path, *given, "task.words=[it,the,word,a]", "select=majority").well()
    (run,) = runs(tmp_path / "runs")
    assert sorted(row["problem_id"] for row in rows(run)) == ["a", "it", "the", "word"]
    for row in rows(run):
        chosen = row["answers"]["majority"]
        assert chosen["answer"] in ("1", "2")
        assert chosen["correct"] == (chosen["answer"] == str(len(row["problem_id"])))


def test_a_sampler(ponder_outside, tmp_path: Path) -> None:
    user_folder(tmp_path, "sampler", "parrot", SAMPLER, "_target_: parrot.Parrot\nwords: 2\n")
    given = ("sampler=parrot", "sampler.words=5", "verifier=constant", "search=best_of_n", "budget.n=3", "task.limit=2")
    ponder_outside(tmp_path, *given).well()
    (run,) = runs(tmp_path / "runs")
    for row in rows(run):
        assert row["error"] is None
        assert row["traces"][0]["steps"] == [" ".join(row["prompt"].split()[:5])]
        assert row["cost"]["policy"]["new_tokens"] == 15


WRONG = {
    "short": ("return [0.5] * (len(traces) - 1)", "scores"),
    "nan": ("return [float('nan') for t in traces]", "nan"),
    "raises": ("raise KeyError('weights')", "KeyError"),
    "batch": ("return [0.1 * len(traces) for t in traces]", "alone"),
    "words": ("return ['good' for t in traces]", "good"),
    "nothing": ("return None", "None"),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_verifier_is_refused(name: str, tmp_path: Path) -> None:
    body, word = WRONG[name]
    code = f"class Wrong:\n    def score(self, traces):\n        {body}\n"
    user_folder(tmp_path, "verifier", f"wrong_{name}", code, f"_target_: wrong_{name}.Wrong\n")
    done = ponder_here(tmp_path, "--config-dir", "conf", "debug=scripted", f"verifier=wrong_{name}")
    done.refused("Wrong", "score", word)
    assert len(done.err.strip().splitlines()) >= 2  # the remedy
    assert not (tmp_path / "runs").exists()


def test_a_verifier_with_two_scores_for_three_traces_is_refused(ponder_outside, tmp_path: Path) -> None:
    code = "class Two:\n    def score(self, traces):\n        return [0.5, 0.5]\n"
    user_folder(tmp_path, "verifier", "two", code, "_target_: two.Two\n")
    ponder_outside(tmp_path, "debug=scripted", "verifier=two").refused("Two", "2 scores", "3", "one float for each")
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    ("target", "word"),
    [("vowles.Vowels", "vowles"), ("vowels.Vowles", "Vowles")],
)
def test_a_misspelt_target_is_named(target: str, word: str, tmp_path: Path) -> None:
    user_folder(tmp_path, *VOWELS[:3], f"_target_: {target}\n")
    ponder_here(tmp_path, "--config-dir", "conf", "debug=scripted", "verifier=vowels").refused(word)
    assert not (tmp_path / "runs").exists()


def test_a_wrong_argument_is_named(tmp_path: Path) -> None:
    user_folder(tmp_path, *VOWELS)
    given = ("--config-dir", "conf", "debug=scripted", "verifier=vowels")
    ponder_here(tmp_path, *given, "verifier.bonsu=2").refused("bonsu")
    ponder_here(tmp_path, *given, "+verifier.bonsu=2").refused("verifier", "bonsu", "Vowels")
    ponder_here(tmp_path, *given, "verifier.bonus=much").refused("Vowels")
