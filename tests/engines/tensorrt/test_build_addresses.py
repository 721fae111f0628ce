"""A thread of its own for what must not depend on what lies in memory before."""

from __future__ import annotations

import threading

import pytest

from motivnet_engines.build.addresses import in_fresh_thread


def test_the_result_comes_from_another_thread() -> None:
    assert in_fresh_thread(threading.get_ident) != threading.get_ident()


def test_an_error_comes_back_as_it_was() -> None:
    with pytest.raises(ZeroDivisionError):
        in_fresh_thread(lambda: 1 / 0)
