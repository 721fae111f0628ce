from pathlib import Path

import numpy as np
import pytest

from motivnet.datasets import ferplus
from motivnet.datasets.read import read_dataset
from motivnet.datasets.sample import RawPixels
from motivnet.errors import DatasetError
from motivnet.labels import EMOTIONS

HEADER = (
    "Usage,Image name,neutral,happiness,surprise,sadness,anger,disgust,fear,contempt,unknown,NF"
)
ROWS = (
    ("Training", "fer0000000.png", "4,0,0,1,3,2,0,0,0,0"),
    ("Training", "", "0,0,0,0,0,0,0,0,0,10"),
    ("Training", "fer0000002.png", "1,0,0,0,0,0,0,0,9,0"),
    ("Training", "fer0000003.png", "2,0,0,0,0,0,0,7,1,0"),
    ("PublicTest", "fer0000004.png", "0,5,5,0,0,0,0,0,0,0"),
    ("PrivateTest", "fer0000005.png", "3,1,0,0,0,0,0,1,3,2"),
    ("PrivateTest", "fer0000006.png", "0,0,0,0,0,0,0,0,0,0"),
)


def write(folder: Path, rows: tuple[tuple[str, str, str], ...] = ROWS) -> Path:
    (folder / "fer2013new.csv").write_text(
        "\n".join([HEADER, *(",".join(row) for row in rows)]) + "\n"
    )
    return folder


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    pictures = [
        f"0,{' '.join([str(number)] * 2304)},{usage}" for number, (usage, _, _) in enumerate(ROWS)
    ]
    (tmp_path / "fer2013.csv").write_text("\n".join(["emotion,pixels,Usage", *pictures]) + "\n")
    return write(tmp_path)


def test_votes_become_distributions_over_the_labels_and_their_parts_are_kept(dataset: Path) -> None:
    read = read_dataset(dataset, labels=EMOTIONS)
    assert read.format == "FER+"
    assert {
        sample.name: (EMOTIONS[sample.label], sample.split, sample.distribution)
        for sample in read.samples
    } == {
        "fer0000000.png": ("neutral", "train", (0.4, 0.0, 0.1, 0.0, 0.0, 0.2, 0.3, 0.0)),
        "fer0000003.png": ("contempt", "train", (2 / 9, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 7 / 9)),
        "fer0000004.png": ("happiness", "val", (0.0, 0.5, 0.0, 0.5, 0.0, 0.0, 0.0, 0.0)),
        "fer0000005.png": ("neutral", "test", (0.6, 0.2, 0.0, 0.0, 0.0, 0.0, 0.0, 0.2)),
    }
    assert read.skipped == {"removed by FER+": 1, "most votes for unknown or no face": 2}


def test_votes_belong_to_the_picture_in_the_same_row(dataset: Path) -> None:
    images = {
        sample.name: sample.image for sample in ferplus.read(dataset, labels=EMOTIONS).samples
    }
    assert images["fer0000004.png"] == RawPixels(data=bytes([4] * 2304), size=(48, 48))


def test_seven_labels_lose_pictures_of_contempt_and_elsewhere_only_its_votes(dataset: Path) -> None:
    found = ferplus.read(dataset, labels=EMOTIONS[:7])
    assert [sample.name for sample in found.samples] == [
        "fer0000000.png",
        "fer0000004.png",
        "fer0000005.png",
    ]
    np.testing.assert_allclose(found.samples[2].distribution, [0.75, 0.25, 0, 0, 0, 0, 0])
    assert found.skipped["the model has no class contempt"] == 1


def test_the_file_of_votes_itself_is_recognised(dataset: Path) -> None:
    assert len(read_dataset(dataset / "fer2013new.csv", labels=EMOTIONS).samples) == 4


def test_without_pictures_the_user_is_asked_for_them(dataset: Path) -> None:
    (dataset / "fer2013.csv").unlink()
    with pytest.raises(
        DatasetError, match=r"has votes and no pictures; put your own fer2013.csv beside it"
    ):
        ferplus.read(dataset, labels=EMOTIONS)


@pytest.mark.parametrize("rows", [ROWS[:-1], (*ROWS, ROWS[-1])], ids=["fewer", "more"])
def test_files_of_different_lengths_do_not_belong_together(
    dataset: Path, rows: tuple[tuple[str, str, str], ...]
) -> None:
    write(dataset, rows)
    with pytest.raises(
        DatasetError, match="have different numbers of rows; use whole copies of both"
    ):
        ferplus.read(dataset, labels=EMOTIONS)


def test_rows_in_another_order_do_not_belong_together(dataset: Path) -> None:
    write(dataset, (ROWS[4], *ROWS[1:4], ROWS[0], *ROWS[5:]))
    with pytest.raises(
        DatasetError, match=r"line 2 of .*fer2013new.csv is not of the same split as line 2 of"
    ):
        ferplus.read(dataset, labels=EMOTIONS)


@pytest.mark.parametrize("vote", ["-1", "x", "", "1.5"])
def test_votes_are_whole_numbers(dataset: Path, vote: str) -> None:
    write(dataset, ((*ROWS[0][:2], f"{vote},0,0,1,3,2,0,0,0,0"), *ROWS[1:]))
    with pytest.raises(DatasetError, match=r"line 2 of .* votes; it must be a whole number"):
        ferplus.read(dataset, labels=EMOTIONS)
