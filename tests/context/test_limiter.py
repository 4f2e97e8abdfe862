"""Slots: never more than there are, lower priorities first, and none lost to a cancellation."""

from __future__ import annotations

import asyncio
import random

import pytest

from factory.context.limiter import Limiter


def test_no_more_slots_are_held_than_there_are() -> None:
    async def scenario() -> None:
        limiter, held, most = Limiter(3), 0, 0

        async def work() -> None:
            nonlocal held, most
            await limiter.acquire()
            held += 1
            most = max(most, held)
            await asyncio.sleep(random.random() * 0.002)
            held -= 1
            limiter.release()

        await asyncio.gather(*(work() for _ in range(60)))
        assert (most, held, limiter.in_use) == (3, 0, 0)

    asyncio.run(scenario())


def test_lower_values_go_first_and_equal_ones_in_order_of_asking() -> None:
    async def scenario() -> list[str]:
        limiter, order = Limiter(1), []
        await limiter.acquire()

        async def work(name: str, priority: int) -> None:
            await limiter.acquire(priority)
            order.append(name)
            limiter.release()

        wanted = [("late 1", 0), ("late 2", 0), ("early", -2), ("middle 1", -1), ("middle 2", -1)]
        tasks = [asyncio.create_task(work(*one)) for one in wanted]
        await asyncio.sleep(0)
        limiter.release()
        await asyncio.gather(*tasks)
        return order

    assert asyncio.run(scenario()) == ["early", "middle 1", "middle 2", "late 1", "late 2"]


@pytest.mark.parametrize("seed", range(5))
def test_a_cancelled_waiter_costs_no_slot(seed: int) -> None:
    async def scenario() -> None:
        draw, limiter = random.Random(seed), Limiter(2)

        async def work() -> None:
            await limiter.acquire(draw.randrange(3))
            try:
                await asyncio.sleep(draw.random() * 0.003)
            finally:
                limiter.release()

        tasks = [asyncio.create_task(work()) for _ in range(60)]
        for _ in range(40):
            await asyncio.sleep(draw.random() * 0.001)
            draw.choice(tasks).cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        assert limiter.in_use == 0
        await asyncio.wait_for(asyncio.gather(limiter.acquire(), limiter.acquire()), 1)
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(limiter.acquire(), 0.01)

    asyncio.run(scenario())


def test_a_waiter_cancelled_in_the_moment_of_its_turn_hands_it_on() -> None:
    async def scenario() -> None:
        limiter = Limiter(1)
        await limiter.acquire()
        first, second = asyncio.create_task(limiter.acquire()), asyncio.create_task(limiter.acquire())
        await asyncio.sleep(0)
        limiter.release()
        first.cancel()
        await asyncio.wait_for(second, 1)
        with pytest.raises(asyncio.CancelledError):
            await first
        assert limiter.in_use == 1

    asyncio.run(scenario())
