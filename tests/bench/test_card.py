"""A card says what was measured, where each figure is from, and what nobody measured."""

from __future__ import annotations

import hashlib
import html
import json
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest
import yaml

from motivnet.artifact import open_artifact, rewrite_manifest
from motivnet.artifact.manifest import Manifest
from motivnet.checkpoints import load_checkpoint, save_model
from motivnet.errors import ConfigError, FileError
from motivnet_bench.accuracy import AccuracyResult, measure_accuracy
from motivnet_bench.card import read_card
from motivnet_bench.groups.measure import GroupsOptions, measure_groups
from motivnet_bench.report.card import card_report, markdown_from_card
from motivnet_bench.report.document import CommandLine, Note, Report, Section
from motivnet_bench.report.files import write_card
from motivnet_bench.report.markdown import markdown_from_report
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
    assert "Source: accuracy.json: " in body
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
    assert target.checkpoint is not None
    trained = artifact.parent / "trained.safetensors"
    said = {"encoder": "sapiens.safetensors", "encoder_sha256": "none", "training_images": "35"}
    plain = load_checkpoint(target.checkpoint)
    save_model(
        plain.model,
        trained,
        config=plain.config,
        labels=target.artifact.manifest.labels,
        preprocessing=None,
        metadata=said,
    )

    def of_trained(manifest: Manifest) -> Manifest:
        sha256 = hashlib.sha256(trained.read_bytes()).hexdigest()
        source = msgspec.structs.replace(manifest.source, sha256=sha256)
        return msgspec.structs.replace(manifest, source=source)

    rewrite_manifest(artifact, of_trained)
    text = markdown_from_card(read_card(artifact, checkpoint=trained))
    assert "- Encoder's weights from: sapiens.safetensors\n- Training images: 35\n" in text
    assert "not recorded in the artifact" not in text
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


def test_a_figure_of_the_validation_split_is_said_to_be_one(
    artifact: Path, accuracy: AccuracyResult, tmp_path: Path
) -> None:
    file = tmp_path / "accuracy.json"
    for split, said in (("val", 1), ("test", 0)):
        file.write_bytes(msgspec.json.encode(msgspec.structs.replace(accuracy, split=split)))
        text = markdown_from_card(read_card(artifact, reports=[file]))
        assert (
            text.count(f"Training may have chosen its epoch by {accuracy.dataset}, val split")
            == said
        )
        assert f'"split": "{split}"' in text


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
    renamed = json.loads(reports[0].read_bytes()) | {"artifact": "other"}
    (tmp_path / "other.json").write_text(json.dumps(renamed))
    assert read_card(artifact, reports=[tmp_path / "other.json"]).measured  # the weights are these
    (tmp_path / "other.json").write_text(json.dumps(renamed | {"model": None}))
    with pytest.raises(ConfigError, match=r"other.json is a report of other, and not of"):
        read_card(artifact, reports=[tmp_path / "other.json"])


@pytest.mark.parametrize("part", ["graph", "checkpoint"])
def test_a_report_of_other_weights_is_refused(
    artifact: Path, reports: tuple[Path, Path], part: str
) -> None:
    """The folder of an artifact that was built again has the same name."""
    for file in reports:
        found = json.loads(file.read_bytes())
        found["model"][part] = "0" * 64
        file.write_text(json.dumps(found))
        with pytest.raises(ConfigError, match="is a report of other weights than those of"):
            read_card(artifact, reports=[file])


def test_reports_of_the_same_name_are_all_shown(
    artifact: Path, reports: tuple[Path, Path], tmp_path: Path
) -> None:
    files = [tmp_path / folder / "groups.json" for folder in ("age", "gender")]
    for file in files:
        file.parent.mkdir()
        found = json.loads(reports[1].read_bytes()) | {"by": file.parent.name}
        file.write_text(json.dumps(found))
    text = markdown_from_card(read_card(artifact, reports=[*files, files[0]]))
    for name in ("age", "gender"):
        assert text.count(f"by {name}\n") == 1
        assert f"Source: {name}/groups.json" in text


def test_a_command_after_a_warning_is_code(artifact: Path) -> None:
    """Four spaces would continue the list in which the warning is."""
    text = markdown_from_card(read_card(artifact))
    assert f"```\nmotivnet calibrate {artifact.name} FOLDER\n```" in text
    assert "``````\nlong ````` fence\n``````" in markdown_from_report(
        Report(
            title="",
            overview=(),
            sections=(Section(title="", blocks=(CommandLine(text="long ````` fence"),)),),
        )
    )


def test_the_words_of_the_build_can_be_pasted(artifact: Path) -> None:
    def with_purpose(manifest: Manifest) -> Manifest:
        return msgspec.structs.replace(manifest, purpose="a $(date) 'study'")

    rewrite_manifest(artifact, with_purpose)
    text = markdown_from_card(read_card(artifact))
    [line] = [line for line in text.splitlines() if line.startswith("motivnet-export build")]
    assert shlex.split(line)[-2:] == ["--purpose", "a $(date) 'study'"]
    assert "Intended use, as stated by its builder: a" in text


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
