import dataclasses
from pathlib import Path

import numpy as np
import pytest

from motivnet.datasets.sample import RawPixels, Sample, target_distributions


def test_grey_levels_must_fill_their_size() -> None:
    with pytest.raises(ValueError, match="5 bytes are not a grey or RGB image of 2 x 3"):
        RawPixels(data=bytes(5), size=(2, 3))


def test_a_sample_is_hashed_by_its_file_or_by_its_grey_levels_and_their_size(
    tmp_path: Path,
) -> None:
    grey = Sample(name="a", image=RawPixels(data=b"\0\1\2\3\4\5", size=(2, 3)), label=0)
    (tmp_path / "a.jpg").write_bytes(b"\0\1\2\3\4\5")
    file = Sample(name="b", image=tmp_path / "a.jpg", label=0)
    tall = Sample(name="a", image=RawPixels(data=b"\0\1\2\3\4\5", size=(3, 2)), label=0)
    assert file.digest() == "17e88db187afd62c16e5debf3e6527cd006bc012bc90b51a810cd80c2d511f43"
    assert len({grey.digest(), tall.digest(), file.digest()}) == 3
    assert grey.digest() == dataclasses.replace(grey, name="b", label=1).digest()
    np.testing.assert_array_equal(grey.pixels()[:, :, 1], [[0, 1, 2], [3, 4, 5]])


def test_a_sample_can_be_rgb_pixels_that_were_never_a_file() -> None:
    data = bytes(range(18))
    colour = Sample(name="a", image=RawPixels(data=data, size=(2, 3)), label=0)
    np.testing.assert_array_equal(colour.pixels()[1, 2], [15, 16, 17])
    assert colour.pixels().shape == (2, 3, 3)
    assert (
        colour.digest()
        != Sample(name="a", image=RawPixels(data=data, size=(3, 2)), label=0).digest()
    )
    assert (
        colour.digest()
        != Sample(name="a", image=RawPixels(data=data, size=(6, 3)), label=0).digest()
    )
    with pytest.raises(ValueError, match="18 bytes are not a grey or RGB image of 3 x 3"):
        RawPixels(data=data, size=(3, 3))


def test_votes_stay_and_a_label_alone_is_certain() -> None:
    votes = (0.4, 0.0, 0.1, 0.0, 0.0, 0.2, 0.3)
    samples = (
        Sample(name="a", image=Path("a"), label=0, distribution=votes),
        Sample(name="b", image=Path("b"), label=5),
    )
    found = target_distributions(samples, classes=7)
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, np.array([votes, [0, 0, 0, 0, 0, 1, 0]], np.float32))


def test_no_sample_has_no_row() -> None:
    assert target_distributions((), classes=7).shape == (0, 7)
