r"""Answers that are equal, and answers that are not; from any thread, and within the limit."""

from __future__ import annotations

import json
import random
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from ponder.tasks import equivalence
from ponder.tasks.cleaning import LONGEST, cleaned, is_text
from ponder.tasks.equivalence import boxed, close, equal, key

ROOT = Path(__file__).parents[2]
DATA = ROOT.parent / "shared" / "data"


@pytest.fixture(scope="module", autouse=True)
def workers() -> Iterator[None]:
    """Workers end with this file."""
    yield
    close()


@pytest.mark.parametrize(
    "group",
    [
        ["1/2", r"\frac{1}{2}", r"\dfrac12", "0.5", ".5", "$0.50$", r"\(\tfrac{1}{2}\)", r"\boxed{\frac12}", "0.5."],
        ["-0.25", r"-\frac{1}{4}", "-1/4", r"\frac{-1}{4}"],
        ["900000000", "900,000,000", "900 000 000", r"900{,}000{,}000", r"900,\!000,\!000", "9 \\times 10^8"],
        [r"1\frac{9}{10}", "1.9", r"\frac{19}{10}"],
        [r"20\%", "20", "20%", "20 percent", "20.0"],
        ["5", "x=5", r"5\text{ cm}", r"5\text{ cm}^2", r"\$5", r"5^\circ"],
        [r"\sqrt{8}", r"2\sqrt2", r"\frac{4}{\sqrt{2}}"],
        [r"\{1,2\}", "2, 1", r"1\text{ and }2", r"\{2, \frac{3}{3}\}"],
        [r"\infty", "infinity", r"$+\infty$"],
        ["(1,2)", r"\left(1, 2\right)", "(1.0, 4/2)"],
        ["6-5i", "6 - 5i", "-5i+6"],
        [r"\text{Evelyn}", "Evelyn", "evelyn", r"\textbf{EVELYN}"],
        ["1 1/2", "3/2", r"1\frac12", "1.5", "1½"],
        ["204_5", "204_{5}", "0204_5"],
        ["1.5e3", "1500", r"1.5 \times 10^3", "1.5E3"],
        [r"\sqrt{-1}", "i"],
        ["3(4)", "12", "3 (4)", r"3\cdot 4"],
        ["4:30 p.m.", r"4:30\text{ pm}", "4:30 PM", r"$4:30\ \text{p.m.}$"],
        ["1.6e-19", r"1.6\times10^{-19}", r"\frac{16}{10^{20}}"],
        [r"2\sqrt{3}x^2", "2√3x²", r"x^2\sqrt{12}"],
        ["12", "１２", "١٢", "**12**"],  # noqa: RUF001  # digits of other scripts
        ["7", "7 dollars", "7 cm^2", r"7\text{ per week}", "7 square inches", "7 hours"],
        [r"\begin{pmatrix}1&2\\3&0.5\end{pmatrix}", r"\begin{bmatrix} 1 & 2 \\ 3 & \frac12 \end{bmatrix}"],
    ],
    ids=lambda group: group[0],
)
def test_equal_answers_form_one_group(group: Any) -> None:
    assert len({key(answer) for answer in group}) == 1, {answer: key(answer) for answer in group}
    assert [a for a in group if not (equal(group[0], a) and equal(a, group[0]))] == []
    assert key(key(group[0])) == key(group[0])
    assert equal(group[0], key(group[-1]))


@pytest.mark.parametrize(
    ("gold", "given"),
    [
        ("50", "0.5"),  # no hundredfold
        ("0.5", "50"),
        (r"20\%", "0.2"),
        ("5", "I got 7, then 5"),  # no last number
        ("5", "The answer is 5"),
        ("5", "5 or 6"),
        ("1/3", "0.333"),
        ("0.00000001", "0.00000002"),  # six places after the point are not enough here
        (r"1.6\times10^{-19}", r"1.7\times10^{-19}"),
        ("1.6e-19", "0"),
        ("(0,1)", "[0,1)"),
        ("(1,2)", "(2,1)"),
        (r"\sqrt{67}", r"\sqrt{67},-\sqrt{85}"),
        (r"\text{oddd}", "odd"),
        ("Thursday", "Friday"),
        ("x+1", "x+2"),
        ("5", ""),
        ("", ""),
        ("5", r"\frac{"),
        ("2", r"\boxed{1}\boxed{2}"),
        ("111", "0,111"),
        ("5", "5t"),  # no unit but a variable
        ("11", "11a+c"),
        ("11", "11 a + c"),
        ("204_5", "204_6"),
        ("3", "1 2"),
        ("1", "1 1/2"),
        ("0.5", "0.5000001"),
        ("n=1,2,3", "n=2,3,4"),
        ("5", "x=5=6"),
        ("7=8", "5=6"),
        ("12:00", "1:00"),
        (r"\frac{1}{0}", r"\frac{2}{0}"),
        ("1<x<2", "x>1"),
        ("yes", "no"),
        ("10 a.m.", r"10\text{ p.m.}"),
        ("7", "3(4)"),
        ("5", "5 million"),
        ("a d b", "a b c"),
        ("The answer is 5", "The answer is 6"),
    ],
)
def test_unequal_answers(gold: str, given: str) -> None:
    assert not equal(gold, given)
    assert key(gold) != key(given) or gold == given


def test_a_decimal_equals_what_it_is_rounded_from_but_votes_for_itself() -> None:
    assert equal("1/3", "0.333333")
    assert equal("0.333333", "1/3")
    assert key("1/3") != key("0.333333")


@pytest.mark.parametrize(
    ("gold", "given"), [("204_5", "204"), ("204", "204_5"), ("4:30 p.m.", "4:30"), ("1<x<2", "2>x>1"), ("x=5", "5")]
)
def test_equal_in_other_ways(gold: str, given: str) -> None:
    assert equal(gold, given)
    assert equal(given, key(given))


def test_a_variable_that_an_answer_names_counts_where_both_name_one() -> None:
    assert not equal("x=5", "y=5")
    assert key("x=5") == key("y=5") == "5", "the one case of equal keys and unequal answers"


PIECES = [
    "5",
    " cm",
    r"\text{a}",
    "}",
    "{",
    "^2",
    " ",
    r"\ ",
    "x",
    "$",
    "%",
    ".",
    ",",
    r"\pi",
    r"\boxed{",
    "**",
    "_",
    "and ",
]


@pytest.mark.parametrize("seed", range(20))
def test_cleaning_is_quick_and_once_is_enough(seed: int) -> None:
    draw = random.Random(seed)
    for _ in range(10):
        middle = "".join(draw.choices(PIECES, k=draw.randint(1, 3)))
        text = (draw.choice(PIECES) + middle * LONGEST)[: LONGEST - 10] + draw.choice(PIECES)
        start = time.monotonic()
        once = cleaned(text)
        is_text(once)
        assert time.monotonic() - start < 2.0
        assert cleaned(once) == once


def test_keys_are_readable() -> None:
    wanted = {"420": "420", "0.5": r"\frac{1}{2}", "-.2": r"- \frac{1}{5}", "x^2+x-1+2": "x^{2} + x + 1", "-0": "0"}
    assert {answer: key(answer) for answer in wanted} == wanted
    assert key(r"\frac{-1}{5}") == key("-.2"), "written alike by a worker and without one"


@pytest.mark.skipif(not DATA.exists(), reason="shared/data is not beside the repository")
def test_laws_of_keys_on_real_answers() -> None:
    rows = [json.loads(line) for line in (DATA / "math500.jsonl").read_text(encoding="utf-8").splitlines()]
    pairs = [json.loads(line) for line in (DATA / "grading_pairs.jsonl").read_text(encoding="utf-8").splitlines()]
    answers = [row["answer"] for row in rows[::4]]
    answers += [pair[side] for pair in pairs[::2] for side in ("gold", "pred") if len(pair[side]) <= 100]
    assert len(answers) > 250
    assert [one for one in answers if not equal(one, key(one)) or key(key(one)) != key(one)] == []
    alike: dict[str, str] = {}
    assert [one for one in answers if not equal(alike.setdefault(key(one), one), one)] == []


@pytest.mark.parametrize(
    ("answer", "text"),
    [
        (r" $\frac{$ ", r"\frac{"),
        ("", ""),
        ("  ", ""),
        ("Don't   know.", "don't know"),
        ("日本人", "日本人"),
        ("12:00", "12:00"),
    ],
)
def test_what_cannot_be_read_is_its_own_text(answer: str, text: str) -> None:
    assert key(answer) == text


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (r"so \boxed{5}.", "5"),
        (r"\boxed{1} or rather \boxed{ \frac{1}{2} }", r"\frac{1}{2}"),
        (r"\boxed{\text{a \{ b}}", r"\text{a \{ b}"),
        (r"\boxed{\{1, 2\}}", r"\{1, 2\}"),
        (r"\boxed{a\\}", r"a\\"),
        (r"first \boxed{1}, then \boxed{2", None),
        ("the answer is 5", None),
        (r"\boxed", None),
        ("", None),
    ],
)
def test_the_last_box_is_read_whole(text: str, found: str | None) -> None:
    assert boxed(text) == found


def test_a_pathological_answer_ends_at_the_limit_on_any_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    assert equal("x+x", "2x")  # workers have started
    monkeypatch.setattr(equivalence, "LIMIT", 0.5)  # one that a busy machine would miss with ordinary answers, too
    tower = r"9^{9^{9^{9}}} + \sqrt{2}"
    found: dict[str, Any] = {}

    def work() -> None:
        found["key"], found["equal"] = key(tower), equal(r"8^{8^{8^{8}}}", tower)

    start = time.monotonic()
    thread = threading.Thread(target=work)
    thread.start()
    thread.join(60)
    assert found == {"key": tower, "equal": False}
    assert time.monotonic() - start < 40, "two limits, and a worker that starts again"
    monkeypatch.undo()
    assert equal("y+y", "2y"), "others are served afterwards"


def test_threads_get_the_same_answers() -> None:
    answers = [f"{i}x+1x" for i in range(12)] * 3
    with ThreadPoolExecutor(8) as threads:
        keys = list(threads.map(key, answers))
    assert keys == [key(answer) for answer in answers]
    assert Counter(keys)["5 x"] == 3


def test_workers_that_were_killed_are_started_again() -> None:
    assert equal("z+z", "2z")
    for worker in list(equivalence._pool._pool_manager.worker_manager.workers.values()):
        worker.kill()
        worker.join()
    assert equal("z+z+z", "3z")


def test_a_comparison_whose_worker_is_killed_is_made_again(monkeypatch: pytest.MonkeyPatch) -> None:
    from pebble import ProcessExpired

    assert equal("u+u", "2u")
    results: list[Any] = [ProcessExpired("killed"), True]

    class Future:
        def result(self, timeout: float) -> Any:
            first = results.pop(0)
            if isinstance(first, Exception):
                raise first
            return first

    class Pool:
        def schedule(self, work: Any, args: Any, timeout: float) -> Future:
            return Future()

    monkeypatch.setattr(equivalence, "_workers", Pool)
    assert equal("v+v", "2v")
    results[:] = [ProcessExpired("killed"), ProcessExpired("killed")]
    assert not equal("w+w", "2w")
    assert results == []


def test_closing_disturbs_no_other_thread() -> None:
    found: list[bool] = []
    threads = [
        threading.Thread(
            target=lambda k=k: found.extend(equal(f"{k}{i}k+k", f"{int(f'{k}{i}') + 1}k") for i in range(9))
        )
        for k in range(1, 4)
    ]
    for thread in threads:
        thread.start()
    time.sleep(0.2)
    close()
    for thread in threads:
        thread.join(120)
    assert found == [True] * 27


SCRIPT = """
import multiprocessing, sys, time, warnings
from ponder.tasks.equivalence import equal

warnings.simplefilter("ignore")

def child():
    assert equal("q+q", "2q")

if __name__ == "__main__":
    assert equal("p+p", "2p")
    if sys.argv[1] == "fork":
        forked = multiprocessing.get_context("fork").Process(target=child)
        forked.start()
        forked.join(60)
        print(forked.exitcode, equal("r+r", "2r"))
    else:
        print(*(one.pid for one in multiprocessing.active_children()), flush=True)
        time.sleep(60)
"""


def test_a_forked_process_has_workers_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "fork.py").write_text(SCRIPT, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "fork.py", "fork"],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        timeout=120,
        env={"PYTHONPATH": str(ROOT)},
        check=False,
    )
    assert done.stdout.split() == ["0", "True"], done.stderr


def test_workers_end_with_a_process_that_is_killed(tmp_path: Path) -> None:
    (tmp_path / "idle.py").write_text(SCRIPT, encoding="utf-8")
    with subprocess.Popen(
        [sys.executable, "idle.py", "wait"],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        cwd=tmp_path,
        env={"PYTHONPATH": str(ROOT)},
    ) as parent:
        assert parent.stdout is not None
        workers = [int(pid) for pid in parent.stdout.readline().split()]
        assert len(workers) == equivalence.WORKERS
        parent.kill()
    until = time.monotonic() + 20
    while (left := [pid for pid in workers if _runs(pid)]) and time.monotonic() < until:
        time.sleep(0.1)
    assert left == []


def _runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_a_script_without_a_guard_is_told(tmp_path: Path) -> None:
    script = tmp_path / "grade.py"
    script.write_text("from ponder.tasks.equivalence import equal\nprint(equal('x+x', '2x'))\n", encoding="utf-8")
    done = subprocess.run(
        [sys.executable, str(script)],
        capture_output=True,
        text=True,
        timeout=120,
        env={"PYTHONPATH": str(ROOT)},
        check=False,
    )
    assert done.returncode == 1
    assert 'needs `if __name__ == "__main__":`' in done.stderr


def test_importing_starts_nothing() -> None:
    code = (
        "import sys, ponder.tasks.equivalence as e; print(e._pool, e.key('0.5'), e.equal('0.5', '2'), "
        "e.equal('Yes', 'the word'), 'sympy' in sys.modules, e._pool)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    assert done.stdout.split() == ["None", r"\frac{1}{2}", "False", "False", "False", "None"]
