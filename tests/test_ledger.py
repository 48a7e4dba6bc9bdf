"""Ceilings: in every field, for a question and for a run, never passed, refunded, waited for."""

import asyncio
from dataclasses import fields

import pytest

from ponder.errors import UserError
from ponder.ledger import Budget, BudgetExhausted, Ledger
from ponder.types import Cost

COUNTED = [field.name for field in fields(Budget) if field.name != "seconds"]
every_field = pytest.mark.parametrize("name", COUNTED)


def tokens_quote(tokens):
    return Cost(samples=1, prompt_tokens=10, new_tokens=tokens)


async def spend(ledger, cost, role="policy", count=1):
    async with ledger.reserve(role, lambda _: cost, 1, count) as grant:
        grant.charge(cost * grant.count)
        return grant.count


async def within(work, seconds=5.0):
    return await asyncio.wait_for(work, seconds)


@pytest.mark.parametrize("name", [field.name for field in fields(Budget)])
@pytest.mark.parametrize("value", [0, -1, float("nan"), True, False, "10", float("-inf")])
def test_what_is_no_ceiling_is_named(name, value):
    with pytest.raises(UserError, match=rf"budget\.{name}={value}") as caught:
        Budget(**{name: value})
    assert "above 0" in caught.value.hint


def test_ceilings_are_what_was_set():
    assert Budget().ceilings == {}
    assert Budget(samples=4, flops=1e9).ceilings == {"samples": 4, "flops": 1e9}


@every_field
async def test_every_field_has_a_ceiling(name):
    ledger = Ledger(Budget(**{name: 10}))
    unit = Cost(**{name: 3})
    for _ in range(3):
        await spend(ledger, unit)
    with pytest.raises(BudgetExhausted, match=f"{name} 9 of 10 spent"):
        await spend(ledger, unit)
    assert getattr(ledger.total, name) == 9


@every_field
async def test_other_fields_are_free(name):
    ledger = Ledger(Budget(**{name: 1}))
    everything_else = Cost(**{other: 1000 for other in Cost().asdict() if other != name})
    for _ in range(3):
        await spend(ledger, everything_else)
    assert getattr(ledger.total, name) == 0


@every_field
async def test_a_ceiling_of_the_run_holds_for_all_its_questions(name):
    run = Ledger(Budget(**{name: 10}))
    questions = [Ledger(parent=run) for _ in range(4)]
    for question in questions[:3]:
        await spend(question, Cost(**{name: 3}))
    with pytest.raises(BudgetExhausted, match=f"{name} 9 of 10"):
        await spend(questions[3], Cost(**{name: 3}))
    assert getattr(run.total, name) == 9
    assert questions[3].total == Cost()


async def test_a_grant_is_as_large_as_the_smallest_ceiling_allows():
    run = Ledger(Budget(new_tokens=100, samples=3))
    question = Ledger(Budget(new_tokens=50), parent=run)
    async with question.reserve("policy", tokens_quote, 10, 99) as grant:
        assert (grant.count, grant.tokens) == (3, 10)
    run.budget = Budget(new_tokens=100)
    async with question.reserve("policy", tokens_quote, 10, 99) as grant:
        assert (grant.count, grant.tokens) == (5, 10)
    async with question.reserve("policy", tokens_quote, 10, 2) as grant:
        assert grant.count == 2


async def test_what_is_not_used_comes_back():
    ledger = Ledger(Budget(new_tokens=20))
    for _ in range(5):
        async with ledger.reserve("policy", lambda t: Cost(new_tokens=t), 10, 1) as grant:
            assert grant.tokens == 10
            grant.charge(Cost(new_tokens=2))
    assert ledger.total.new_tokens == 10


async def test_failed_work_is_booked_as_far_as_it_was_charged_and_the_rest_comes_back():
    ledger = Ledger(Budget(new_tokens=10))

    async def failing():
        async with ledger.reserve("policy", lambda t: Cost(new_tokens=t), 10, 1) as grant:
            grant.charge(Cost(new_tokens=4))
            raise RuntimeError("broken")

    with pytest.raises(RuntimeError, match="broken"):
        await failing()
    assert ledger.total.new_tokens == 4
    assert await spend(ledger, Cost(new_tokens=6)) == 1


async def test_the_last_completion_is_capped():
    ledger = Ledger(Budget(new_tokens=25))
    async with ledger.reserve("policy", tokens_quote, 10, 9) as grant:
        assert (grant.count, grant.tokens) == (2, 10)
        grant.charge(Cost(new_tokens=20))
    async with ledger.reserve("policy", tokens_quote, 10, 9) as grant:
        assert (grant.count, grant.tokens) == (1, 5)
        grant.charge(Cost(new_tokens=5))
    with pytest.raises(BudgetExhausted, match="new_tokens 25 of 25 spent"):
        await spend(ledger, tokens_quote(1))


@pytest.mark.parametrize("ceiling", range(1, 12))
async def test_the_cap_is_the_most_that_fits(ceiling):
    ledger = Ledger(Budget(flops=ceiling))
    async with ledger.reserve("policy", lambda t: Cost(flops=t), 12, 1) as grant:
        assert (grant.count, grant.tokens) == (1, ceiling)


async def test_waits_for_refunds_rather_than_giving_up():
    ledger = Ledger(Budget(new_tokens=10))
    release, granted = asyncio.Event(), []

    async def holder():
        async with ledger.reserve("policy", lambda t: Cost(new_tokens=t), 10, 1) as grant:
            await release.wait()
            grant.charge(Cost(new_tokens=3))

    async def waiter():
        async with ledger.reserve("policy", lambda t: Cost(new_tokens=t), 7, 1) as grant:
            granted.append(grant.tokens)
            grant.charge(Cost(new_tokens=grant.tokens))

    holding = asyncio.create_task(holder())
    await asyncio.sleep(0)
    waiting = asyncio.create_task(waiter())
    for _ in range(20):
        await asyncio.sleep(0)
    assert granted == []
    assert not waiting.done()
    release.set()
    await within(asyncio.gather(holding, waiting))
    assert granted == [7]
    assert ledger.total.new_tokens == 10


async def test_gives_up_once_the_others_have_spent_all():
    ledger = Ledger(Budget(new_tokens=10))
    release = asyncio.Event()

    async def holder():
        async with ledger.reserve("policy", lambda t: Cost(new_tokens=t), 10, 1) as grant:
            await release.wait()
            grant.charge(Cost(new_tokens=10))

    holding = asyncio.create_task(holder())
    await asyncio.sleep(0)
    waiting = asyncio.create_task(spend(ledger, Cost(new_tokens=1)))
    await asyncio.sleep(0)
    release.set()
    await holding
    with pytest.raises(BudgetExhausted):
        await within(waiting)


async def test_a_question_at_its_own_ceiling_does_not_wait_for_other_questions():
    run = Ledger(Budget(new_tokens=1000))
    poor, rich = Ledger(Budget(new_tokens=5), parent=run), Ledger(parent=run)
    await spend(poor, Cost(new_tokens=5))
    async with rich.reserve("policy", lambda t: Cost(new_tokens=t), 10, 1):
        with pytest.raises(BudgetExhausted, match="new_tokens 5 of 5"):
            await within(spend(poor, Cost(new_tokens=1)), 1.0)


async def test_a_question_near_its_own_ceiling_is_capped_while_others_work():
    run = Ledger(Budget(new_tokens=1000))
    poor, rich = Ledger(Budget(new_tokens=5), parent=run), Ledger(parent=run)

    async def tokens():
        async with poor.reserve("policy", lambda t: Cost(new_tokens=t), 10, 1) as grant:
            return grant.tokens

    async with rich.reserve("policy", lambda t: Cost(new_tokens=t), 10, 1):
        assert await within(tokens(), 1.0) == 5


async def test_a_question_waits_for_the_run_although_it_is_idle_itself():
    run = Ledger(Budget(new_tokens=10))
    one, two = Ledger(parent=run), Ledger(parent=run)
    async with one.reserve("policy", lambda t: Cost(new_tokens=t), 10, 1):
        waiting = asyncio.create_task(spend(two, Cost(new_tokens=10)))
        for _ in range(10):
            await asyncio.sleep(0)
        assert not waiting.done()
    assert await within(waiting) == 1


async def test_many_at_once_never_pass_the_ceiling():
    run = Ledger(Budget(new_tokens=97))
    questions = [Ledger(Budget(new_tokens=40), parent=run) for _ in range(5)]

    async def draw(question, used):
        async with question.reserve("policy", lambda t: Cost(new_tokens=t), 9, 3) as grant:
            held = [ledger._held.new_tokens + ledger.total.new_tokens for ledger in (run, question)]
            assert held[0] <= 97
            assert held[1] <= 40
            await asyncio.sleep(0)
            grant.charge(Cost(new_tokens=min(used, grant.tokens) * grant.count))

    work = [draw(question, 1 + i) for i in range(9) for question in questions]
    ended = await within(asyncio.gather(*work, return_exceptions=True))
    assert {type(end) for end in ended} == {type(None), BudgetExhausted}
    assert run.total.new_tokens <= 97
    assert run.total.new_tokens == sum(question.total.new_tokens for question in questions)


async def test_costs_are_booked_by_role():
    run = Ledger()
    question = Ledger(parent=run)
    await spend(question, Cost(new_tokens=2), "policy")
    await spend(question, Cost(new_tokens=3), "draft")
    await spend(question, Cost(verifier_calls=1), "verifier", count=4)
    booked = {"policy": Cost(new_tokens=2), "draft": Cost(new_tokens=3), "verifier": Cost(verifier_calls=4)}
    assert question.spent == run.spent == booked
    assert question.total == Cost(new_tokens=5, verifier_calls=4)


async def test_one_ceiling_holds_for_the_sum_over_roles():
    ledger = Ledger(Budget(new_tokens=5))
    await spend(ledger, Cost(new_tokens=3), "policy")
    with pytest.raises(BudgetExhausted):
        await spend(ledger, Cost(new_tokens=3), "draft")


async def test_seconds(monkeypatch):
    now = [100.0]
    monkeypatch.setattr("ponder.ledger.time.monotonic", lambda: now[0])
    ledger = Ledger(Budget(seconds=10))
    now[0] += 9.5
    assert await spend(ledger, Cost()) == 1
    assert ledger.seconds == 9.5
    now[0] += 1
    with pytest.raises(BudgetExhausted, match=r"seconds 10\.5 of 10 spent"):
        await spend(ledger, Cost())


async def test_a_cancelled_waiter_leaves_nothing_behind():
    ledger = Ledger(Budget(new_tokens=10))
    async with ledger.reserve("policy", lambda t: Cost(new_tokens=t), 10, 1):
        waiting = asyncio.create_task(spend(ledger, Cost(new_tokens=10)))
        await asyncio.sleep(0)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
    assert await within(spend(ledger, Cost(new_tokens=10))) == 1
