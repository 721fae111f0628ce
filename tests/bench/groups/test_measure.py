"""Groups from a table, a list, folders and annotations; the page, the gate and bad input."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest

from motivnet.synthetic import draw_face
from motivnet_bench.groups.measure import GroupsOptions, GroupsResult, measure_groups
from motivnet_bench.report.document import Note, Table
from motivnet_bench.report.groups import describe_gap, groups_report
from motivnet_bench.target import Target
from motivnet_engines.inference.classifier import EmotionClassifier


@pytest.fixture(scope="module")
def listed(target: Target, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A CSV list of 52 faces: 36 of a, 12 of b, 3 of c, and one of no group.

    The labels are what the artifact answers, but for every second one of b and each third of a.
    """
    folder = tmp_path_factory.mktemp("listed")
    lines = ["file,label,eyes"]
    with EmotionClassifier.open(target.artifact.folder, threads=1) as model:
        for index in range(52):
            face = draw_face("happiness", seed=index, size=(64, 48))
            cv2.imwrite(str(folder / f"{index}.png"), np.ascontiguousarray(face[:, :, ::-1]))
            [answer] = model.predict([folder / f"{index}.png"])
            group = "aaab"[index % 4] if index < 48 else "c"
            wrong = index % 8 == 3 if group == "b" else index % 3 == 0
            label = "neutral" if answer.label != "neutral" else "anger"
            lines.append(f"{index}.png,{label if wrong else answer.label},{group}")
    lines[-1] = lines[-1][:-1]
    (folder / "list.csv").write_text("\n".join(lines) + "\n")
    return folder


@pytest.fixture(scope="module")
def result(target: Target, listed: Path) -> GroupsResult:
    return measure_groups(target, listed, GroupsOptions(by="eyes", threads=1))


def rows_of(listed: Path) -> list[list[str]]:
    return [line.split(",") for line in (listed / "list.csv").read_text().splitlines()[1:]]


def test_each_image_counts_in_its_group(result: GroupsResult) -> None:
    assert [(group.name, group.metrics.images) for group in result.groups] == [
        ("a", 36),
        ("b", 12),
        ("c", 3),
    ]
    assert (result.images, result.without_group, result.dataset_format) == (52, 1, "CSV list")
    assert sum(sum(map(sum, group.metrics.confusion)) for group in result.groups) == 51
    assert result.gap is not None
    assert (result.gap.best, result.gap.worst) == ("a", "b")
    accuracies = {group.name: 100 * group.metrics.accuracy for group in result.groups}
    assert (accuracies["a"], accuracies["b"]) == (pytest.approx(100 * 24 / 36), 50)
    assert result.gap.points == pytest.approx(accuracies["a"] - accuracies["b"])


def test_a_table_beside_class_folders_says_the_same(
    result: GroupsResult, target: Target, listed: Path, tmp_path: Path
) -> None:
    for file, label, _ in rows_of(listed):
        (tmp_path / "faces" / label).mkdir(parents=True, exist_ok=True)
        shutil.copy(listed / file, tmp_path / "faces" / label)
    options = GroupsOptions(by="eyes", table=listed / "list.csv", threads=1)
    again = measure_groups(target, tmp_path / "faces", options)
    assert [group.metrics.confusion for group in again.groups] == [
        group.metrics.confusion for group in result.groups
    ]


def test_folders_are_groups(
    result: GroupsResult, target: Target, listed: Path, tmp_path: Path
) -> None:
    for file, label, group in rows_of(listed):
        if group:
            (tmp_path / "all" / group / label).mkdir(parents=True, exist_ok=True)
            shutil.copy(listed / file, tmp_path / "all" / group / label)
    again = measure_groups(target, tmp_path / "all", GroupsOptions(by="folder", threads=1))
    assert [group.metrics.confusion for group in again.groups] == [
        group.metrics.confusion for group in result.groups
    ]


def test_the_command_writes_a_page_and_what_it_read(
    run, target: Target, listed: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    artifact = target.artifact.folder
    code, said, warned = run("groups", artifact, listed, "--by", "eyes", "--out", out)
    assert code == 0
    assert "c: 3 images are too few to compare, 10 would do, and about" in " ".join(said.split())
    assert "1 of 52 images have no eyes and are left out" in warned
    written = json.loads((out / "groups.json").read_bytes())
    assert written["command_line"].endswith("--by eyes")
    assert [group["name"] for group in written["groups"]] == ["a", "b", "c"]
    page = (out / "groups.html").read_text()
    assert "points less often for" in page
    assert "what people wrote down of others" in page


def test_a_gap_beyond_the_limit_ends_with_status_1(
    run, target: Target, listed: Path, tmp_path: Path, result: GroupsResult
) -> None:
    words = ("groups", target.artifact.folder, listed, "--by", "eyes", "--out", tmp_path / "out")
    assert result.gap is not None
    assert result.gap.points > 0, "the artifact must answer the two groups differently"
    code, _, err = run(*words, "--max-gap", "0")
    assert code == 1
    assert f"than for {result.gap.best}, more than --max-gap 0" in err
    assert (tmp_path / "out" / "groups.html").is_file()
    assert run(*words, "--max-gap", "100")[0] == 0


def test_one_group_of_one_image_has_no_gap(
    run, target: Target, listed: Path, tmp_path: Path
) -> None:
    (tmp_path / "one.csv").write_text("file,eyes\n0.png,a\n")
    words = ("groups", target.artifact.folder, listed, "--by", "eyes", "--out", tmp_path / "out")
    code, said, _ = run(*words, "--table", tmp_path / "one.csv")
    assert code == 0
    assert "a: 1 image is too few to compare, 10 would do" in " ".join(said.split())
    written = json.loads((tmp_path / "out" / "groups.json").read_bytes())
    assert written["gap"] is None
    code, _, err = run(*words, "--table", tmp_path / "one.csv", "--max-gap", "5")
    assert code == 1
    assert "no two groups have 10 images each" in err


@pytest.mark.parametrize(
    ("by", "table", "said"),
    [
        ("hair", None, "list.csv has no column hair; it has eyes, file, label"),
        ("hair", "file,eyes\n0.png,a\n", "table.csv has no column hair; it has eyes, file"),
        ("eyes", "name,eyes\n0.png,a\n", "has no column that names the images"),
        ("eyes", "file,eyes\n99.png,a\n", "names no image of"),
        ("folder", None, "has 0 folders; --by folder needs one of each group"),
    ],
)
def test_bad_input_is_one_line(
    run, target: Target, listed: Path, tmp_path: Path, by: str, table: str | None, said: str
) -> None:
    words = ["groups", target.artifact.folder, listed, "--by", by, "--out", tmp_path / "out"]
    if table is not None:
        (tmp_path / "table.csv").write_text(table)
        words += ["--table", tmp_path / "table.csv"]
    code, out, err = run(*words)
    assert code == 1
    assert out == ""
    assert said in err
    assert err.count("error:") == 1
    assert not (tmp_path / "out").exists()


def test_a_folder_without_a_table_says_how_to_give_one(
    run, target: Target, faces: Path, tmp_path: Path
) -> None:
    code, _, err = run(
        "groups", target.artifact.folder, faces, "--by", "age", "--out", tmp_path / "out"
    )
    assert code == 1
    assert "has no table with a column age; give a CSV file with the columns file and age" in err


def test_no_group_has_no_sentence_of_a_gap(result: GroupsResult, change) -> None:
    assert "no gap can be measured" in describe_gap(change(result, gap=None))


def test_people_are_counted_and_resampled_whole(
    target: Target, listed: Path, result: GroupsResult, tmp_path: Path
) -> None:
    """Four images of each of nine people: the interval is wider than that of 36 people."""
    for file in listed.glob("*.png"):
        shutil.copy(file, tmp_path)
    rows = [row for row in rows_of(listed) if row[2] == "a"]
    rows.sort(key=lambda row: int(row[0].removesuffix(".png")) % 3 == 0)  # whom it fails, it fails
    lines = [f"{','.join(row)},{index // 4}" for index, row in enumerate(rows)]
    others = [f"{','.join(row)},b{row[0]}" for row in rows_of(listed) if row[2] == "b"]
    (tmp_path / "list.csv").write_text("\n".join(["file,label,eyes,person", *lines, *others]))
    again = measure_groups(target, tmp_path, GroupsOptions(by="eyes", threads=1))
    by_people, by_images = again.groups[0], result.groups[0]
    assert (by_people.people, again.groups[1].people, by_images.people) == (9, 12, None)
    assert by_people.metrics.confusion == by_images.metrics.confusion
    assert by_people.high - by_people.low > 1.5 * (by_images.high - by_images.low)
    assert (again.groups[1].low, again.groups[1].high) == (
        result.groups[1].low,
        result.groups[1].high,
    )
    [table] = [block for block in groups_report(again).overview if isinstance(block, Table)]
    assert table.headings[:3] == ("eyes", "people", "images")
    warnings = " ".join(
        note.text for note in groups_report(again).overview if isinstance(note, Note)
    )
    assert "images of different people would do" in warnings
    assert "of the people have one of another group beside them" in warnings
