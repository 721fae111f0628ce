"""Disturbances do what their strength says, and their answers are compared image by image."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest

from motivnet.datasets.read import read_dataset
from motivnet_bench.cli import DISTURBED
from motivnet_bench.report.robustness import describe_robustness
from motivnet_bench.robustness import measure
from motivnet_bench.robustness.disturbances import (
    DISTURBANCES,
    GREY,
    compress,
    cover,
    lighten,
    move_crop,
    rotate,
    shrink,
)
from motivnet_bench.robustness.measure import (
    RobustnessOptions,
    RobustnessResult,
    disturb,
    measure_robustness,
)
from motivnet_bench.target import Target


@pytest.fixture
def dots() -> np.ndarray:
    """Black, with a white square right of the middle and a grey one above it."""
    image = np.zeros((101, 101, 3), np.uint8)
    image[48:53, 78:83] = 255
    image[18:23, 48:53] = 127
    return image


@pytest.fixture
def random() -> np.random.Generator:
    return np.random.default_rng(0)


def centre_of(image: np.ndarray, level: int) -> np.ndarray:
    return np.argwhere(image[..., 0] >= level).mean(axis=0)


def test_the_command_knows_every_disturbance() -> None:
    assert tuple(each.name for each in DISTURBANCES) == DISTURBED


def test_a_quarter_turn_brings_the_right_to_the_top_or_bottom(
    dots: np.ndarray, random: np.random.Generator
) -> None:
    sides = {round(float(centre_of(rotate(dots, 90, random), 200)[0])) for _ in range(20)}
    assert sides == {20, 80}


def test_a_crop_moves_and_scales_by_its_share(
    dots: np.ndarray, random: np.random.Generator
) -> None:
    for _ in range(20):
        moved = centre_of(move_crop(dots, 10, random), 200)
        # The square is 30 right of the centre: scaled to 27 or 33, then moved by 10.1 either way.
        away = abs(moved - 50)
        assert away[0] == pytest.approx(10.1, abs=1)
        assert min(abs(away[1] - each) for each in (27 - 10, 27 + 10, 33 - 10, 33 + 10)) < 1


def test_light_is_multiplied_where_it_is_linear(random: np.random.Generator) -> None:
    grey = np.full((4, 4, 3), 128, np.uint8)
    assert int(lighten(grey, 50, random)[0, 0, 0]) == round(
        255 * ((128 / 255) ** 2.2 / 2) ** (1 / 2.2)
    )
    assert int(lighten(grey, 1000, random)[0, 0, 0]) == 255
    assert (lighten(grey, 100, random) == grey).all()


def test_a_face_is_made_smaller_and_never_larger(
    dots: np.ndarray, random: np.random.Generator
) -> None:
    assert shrink(dots, 25, random).shape == (25, 25, 3)
    assert shrink(dots, 200, random) is dots


def test_so_much_is_covered(random: np.random.Generator) -> None:
    white = np.full((100, 80, 3), 255, np.uint8)
    shares = [(cover(white, 20, random) == GREY).all(axis=2).mean() for _ in range(20)]
    assert shares == pytest.approx([0.2] * 20, abs=0.01)
    assert (white == 255).all(), "the image itself stays as it is"


def test_colours_survive_compression(random: np.random.Generator) -> None:
    image = np.full((32, 32, 3), (200, 40, 90), np.uint8)
    assert np.abs(compress(image, 95, random).astype(int) - image).max() <= 3


@pytest.mark.parametrize("each", DISTURBANCES, ids=lambda each: each.name)
def test_a_stronger_disturbance_changes_more(each, random: np.random.Generator) -> None:
    noise = random.integers(0, 255, (120, 120, 3), np.uint8)
    # What moves must move less than what there is to be seen.
    smooth = cv2.GaussianBlur(noise, (0, 0), 25 if each.name in ("rotation", "crop") else 3)
    smooth = cv2.normalize(smooth, None, 0, 255, cv2.NORM_MINMAX)

    def change(strength: float) -> float:
        disturbed = each.apply(smooth, strength, np.random.default_rng(1))
        whole = cv2.resize(disturbed, (120, 120), interpolation=cv2.INTER_CUBIC)
        return float(np.abs(whole.astype(float) - smooth).mean())

    changes = [change(strength) for strength in each.strengths]
    assert changes == sorted(changes)
    assert changes[0] > 0


@pytest.fixture(scope="module")
def result(target: Target, faces: Path) -> RobustnessResult:
    return measure_robustness(target, faces, RobustnessOptions(threads=1))


def test_every_strength_is_measured_over_all_images(result: RobustnessResult) -> None:
    measured = [(each.disturbance, each.strength) for each in result.settings]
    assert measured == [(d.name, strength) for d in DISTURBANCES for strength in d.strengths]
    assert {each.answers.images for each in result.settings} == {12}
    for each in result.settings:
        counts = each.answers
        assert counts.right == result.right - counts.lost + counts.gained
        assert each.changed * 12 >= counts.lost + counts.gained


def test_the_seed_and_the_place_decide_alone(target: Target, faces: Path) -> None:
    samples = read_dataset(faces, labels=target.artifact.manifest.labels).samples
    turn = DISTURBANCES[0]
    whole = list(disturb(samples, turn, 20, seed=1))
    assert all(map(np.array_equal, whole, disturb(samples, turn, 20, seed=1)))
    assert not all(map(np.array_equal, whole, disturb(samples, turn, 20, seed=2)))
    assert np.array_equal(whole[0], next(disturb(samples[:1], turn, 20, seed=1)))


def test_the_command_writes_its_page(run, target: Target, faces: Path, tmp_path: Path) -> None:
    words = ("robustness", target.artifact.folder, faces, "--out", tmp_path / "out")
    code, said, err = run(*words, "--disturbance", "blur", "--disturbance", "rotation")
    assert (code, err) == (0, "")
    assert "rotation 45°" in said
    written = json.loads((tmp_path / "out" / "robustness.json").read_bytes())
    assert {each["disturbance"] for each in written["settings"]} == {"rotation", "blur"}
    assert written["command_line"].endswith("--disturbance rotation --disturbance blur") or written[
        "command_line"
    ].endswith("--disturbance blur --disturbance rotation")
    assert "<svg" not in (tmp_path / "out" / "robustness.html").read_text()
    assert "points lost" in (tmp_path / "out" / "robustness.html").read_text()


def test_an_unknown_disturbance_is_one_line(run, target: Target, faces: Path) -> None:
    code, _, err = run("robustness", target.artifact.folder, faces, "--disturbance", "snow")
    assert code == 1
    assert err.startswith("error: there is no disturbance snow; give rotation, crop")


def test_the_sentence_does_not_call_a_gain_a_cost(result: RobustnessResult, change) -> None:
    gains = [
        change(each, answers=change(each.answers, lost=0, gained=0)) for each in result.settings
    ]
    assert describe_robustness(change(result, settings=tuple(gains))).endswith(
        "None of the mildest disturbances costs anything."
    )


def test_the_sentence_names_the_worst_of_the_mildest(result: RobustnessResult, change) -> None:
    def lost(disturbance: str, strength: float) -> int:
        mild = {"blur": (0.5, 3), "crop": (5, 1)}.get(disturbance, (None, 0))
        return mild[1] if mild[0] == strength else 5  # what is stronger costs more everywhere

    settings = tuple(
        change(each, answers=change(each.answers, lost=lost(each.disturbance, each.strength)))
        if each.disturbance in ("blur", "crop")
        else change(each, answers=change(each.answers, lost=0, gained=0))
        for each in result.settings
    )
    settings = tuple(change(each, answers=change(each.answers, gained=0)) for each in settings)
    text = describe_robustness(change(result, settings=settings))
    assert text.endswith(
        "Of the mildest disturbances blur 0.5 % of the width costs most: 25.0 points."
    )


def test_without_labels_answers_are_compared_with_those_to_the_images_as_they_are(
    run, target: Target, faces: Path, result: RobustnessResult, tmp_path: Path
) -> None:
    images = tmp_path / "images"
    images.mkdir()
    for number, path in enumerate(sorted(faces.rglob("*.png"))):
        shutil.copy(path, images / f"{number:02d}.png")
    words = ("robustness", target.artifact.folder, images, "--out", tmp_path / "out")
    code, said, _ = run(*words, "--disturbance", "rotation")
    assert code == 0
    assert "agreement" in said
    assert "accuracy" not in said
    written = json.loads((tmp_path / "out" / "robustness.json").read_bytes())
    assert (written["labelled"], written["images"], written["right"]) == (False, 12, 12)
    for bare, labelled in zip(written["settings"], result.settings, strict=False):
        assert bare["changed"] == pytest.approx(labelled.changed)
        assert bare["answers"]["right"] == pytest.approx(12 * (1 - labelled.changed))
    page = (tmp_path / "out" / "robustness.html").read_text()
    assert "The images have no labels" in page
    assert "(max-width: 600px)" in page


def test_an_interruption_says_what_is_lost(
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    target: Target,
    faces: Path,
) -> None:
    seen = []

    def stop(samples, disturbance, strength, *, seed):
        seen.append(strength)
        if len(seen) == 3:
            raise KeyboardInterrupt
        return disturb(samples, disturbance, strength, seed=seed)

    monkeypatch.setattr(measure, "disturb", stop)
    with pytest.raises(KeyboardInterrupt):
        measure_robustness(target, faces, RobustnessOptions(threads=1))
    assert "interrupted after 2 of 33 settings: nothing is written" in caplog.text
