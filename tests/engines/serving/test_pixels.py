from __future__ import annotations

import threading
import time

import pytest

from motivnet_engines.serving.batcher import LateError
from motivnet_engines.serving.pixels import PixelBudget


def far() -> float:
    return time.monotonic() + 30


def test_no_more_pixels_than_the_budget_are_taken_at_once() -> None:
    budget, lock = PixelBudget(10), threading.Lock()
    now, most = 0, 0

    def work(pixels: int) -> None:
        nonlocal now, most
        with budget.taken(pixels, deadline=far()):
            with lock:
                now += pixels
                most = max(most, now)
            time.sleep(0.002)
            with lock:
                now -= pixels

    threads = [threading.Thread(target=work, args=(1 + number % 6,)) for number in range(30)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert (now, 6 < most <= 10) == (0, True)


def test_an_image_beyond_the_budget_is_alone() -> None:
    budget = PixelBudget(10)
    with budget.taken(1000, deadline=far()), pytest.raises(LateError), budget.taken(1, deadline=time.monotonic()):
        pass
    with budget.taken(10, deadline=far()):
        pass


def test_a_small_image_does_not_overtake_a_large_one() -> None:
    budget, order = PixelBudget(10), []

    def work(pixels: int) -> None:
        with budget.taken(pixels, deadline=far()):
            order.append(pixels)

    threads = [threading.Thread(target=work, args=(pixels,)) for pixels in (9, 1)]
    with budget.taken(5, deadline=far()):
        for thread in threads:
            thread.start()
            time.sleep(0.05)
        assert order == []
    for thread in threads:
        thread.join(30)
    assert order == [9, 1]
