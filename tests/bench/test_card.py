"""A card says what was measured, where each figure is from, and what nobody measured."""

from __future__ import annotations

import html
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest
import yaml

from motivnet.artifact import open_artifact
from motivnet.errors import ConfigError, FileError
from motivnet_bench.accuracy import AccuracyResult, measure_accuracy
from motivnet_bench.card import read_card
from motivnet_bench.groups.measure import GroupsOptions, measure_groups
from motivnet_bench.report.card import card_report, markdown_from_card
from motivnet_bench.report.document import Note
from motivnet_bench.report.files import write_card
from motivnet_bench.target import Target


@pytest.fixture
def artifact(target: Target, tmp_path: Path) -> Path:
    """A copy of the artifact under its own name."""
    return Path(shutil.copytree(target.artifact.folder, tmp_path / target.name))


@pytest.fixture(scope="module")
def accuracy(target: Target, faces: Path) -> AccuracyResult:
    return measure_accuracy(target, faces, threads=1)


@pytest.fixture
def reports(
    accuracy: AccuracyResult, target: Target, faces: Path, tmp_path: Path
) -> tuple[Path, Path]:
    table = tmp_path / "table.csv"
    names = sorted(path.relative_to(faces).as_posix() for path in faces.rglob("*.png"))
    table.write_text(
        "file,eyes\n" + "".join(f"{name},{'ab'[i % 2]}\n" for i, name in enumerate(names))
    )
    groups = measure_groups(target, faces, GroupsOptions(by="eyes", table=table, threads=1))
    files = tmp_path / "accuracy.json", tmp_path / "groups.json"
    for file, result in zip(files, (accuracy, groups), strict=True):
        file.write_bytes(msgspec.json.encode(result))
    return files


def test_every_section_names_a_source_or_what_was_not_measured(
    artifact: Path, reports: tuple[Path, Path]
) -> None:
    for card in (read_card(artifact), read_card(artifact, reports=reports)):
        for section in card_report(card).sections[:7]:
            notes = [block.text for block in section.blocks if isinstance(block, Note)]
            assert any(text.startswith(("Source: ", "Not measured: ")) for text in notes), section


def test_a_card_without_accuracy_says_so(artifact: Path) -> None:
    text = markdown_from_card(read_card(artifact))
    assert "Not measured: accuracy on labelled images." in text
    assert f"motivnet-bench accuracy {artifact.name} DATASET" in text
    assert "model-index" not in text
    assert "Intended use: not stated" in text


def test_figures_are_those_of_the_reports(
    artifact: Path, reports: tuple[Path, Path], accuracy: AccuracyResult
) -> None:
    text = markdown_from_card(read_card(artifact, reports=reports))
    head, _, body = text.removeprefix("---\n").partition("---\n")
    metadata = yaml.safe_load(head)
    [result] = metadata["model-index"][0]["results"]
    measured = accuracy.runtimes[0].metrics
    assert result["metrics"][0]["value"] == measured.accuracy
    assert metadata["library_name"] == "motivnet"
    assert f"| accuracy (WAR) | {measured.accuracy:.2%} |" in body
    assert "Source: accuracy.json." in body
    assert f"### {accuracy.dataset} by eyes" in body
    assert "Not measured: accuracy on labelled images" not in body
    assert "Not measured: accuracy by group" not in body


def test_parity_and_origin_are_the_manifests(artifact: Path) -> None:
    manifest = open_artifact(artifact).manifest
    text = markdown_from_card(read_card(artifact))
    assert f"SHA-256: {manifest.source.sha256}" in text
    for each in manifest.parity.comparisons:
        assert f"{each.logit_cosine:.6f}" in text


def test_the_checkpoint_says_what_it_was_trained_on(artifact: Path, target: Target) -> None:
    assert read_card(artifact, checkpoint=target.checkpoint).training is not None
    with pytest.raises(ConfigError, match="is not the artifact's checkpoint"):
        read_card(artifact, checkpoint=artifact / "manifest.json")


def test_the_files_are_listed_and_written_again(artifact: Path) -> None:
    for _ in range(2):
        readme, page = write_card(read_card(artifact), artifact)
    assert readme.name == "README.md"
    assert html.unescape(page.read_text()).count("Model card of") >= 1
    listed = {entry.path for entry in open_artifact(artifact).manifest.reports}
    assert {"README.md", "card.html"} <= listed
    open_artifact(artifact).verify_files()


def test_a_readme_of_somebody_elses_is_not_replaced(artifact: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "README.md").write_text("# My own\n")
    with pytest.raises(FileError, match=r"README\.md is not a card of this command"):
        write_card(read_card(artifact), out)
    assert [path.name for path in out.iterdir()] == ["README.md"]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("nonsense", "is not JSON"),
        ('{"kind": "viability"}', "is no report that a card takes"),
        ('{"kind": "accuracy"}', "is not a report of this version"),
    ],
)
def test_files_that_are_no_reports_are_refused(
    artifact: Path, tmp_path: Path, content: str, said: str
) -> None:
    (tmp_path / "report.json").write_text(content)
    with pytest.raises(ConfigError, match=said):
        read_card(artifact, reports=[tmp_path / "report.json"])


def test_a_report_of_another_artifact_is_refused(
    artifact: Path, reports: tuple[Path, Path], tmp_path: Path
) -> None:
    other = json.loads(reports[0].read_bytes()) | {"artifact": "other"}
    (tmp_path / "other.json").write_text(json.dumps(other))
    with pytest.raises(ConfigError, match=r"other.json is a report of other, and not of"):
        read_card(artifact, reports=[tmp_path / "other.json"])


@pytest.mark.process
def test_motivnet_card_is_the_same_command(artifact: Path) -> None:
    words = ["-m", "motivnet_engines", "card"]
    done = subprocess.run(
        [sys.executable, *words, str(artifact)], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert re.findall(r"card: .*/(\S+)", done.stdout) == ["README.md", "card.html"]
    helped = subprocess.run(
        [sys.executable, *words, "--help"], capture_output=True, text=True, check=True
    )
    assert "motivnet_bench card" in helped.stdout
