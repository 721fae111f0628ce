from pathlib import Path

import numpy as np

from motivnet.datasets.sample import Sample
from motivnet.datasets.targets import targets_of


def test_votes_stay_and_a_label_alone_is_certain() -> None:
    votes = (0.4, 0.0, 0.1, 0.0, 0.0, 0.2, 0.3)
    samples = (
        Sample(name="a", image=Path("a"), label=0, distribution=votes),
        Sample(name="b", image=Path("b"), label=5),
    )
    found = targets_of(samples, classes=7)
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, np.array([votes, [0, 0, 0, 0, 0, 1, 0]], np.float32))


def test_no_sample_has_no_row() -> None:
    assert targets_of((), classes=7).shape == (0, 7)
