from __future__ import annotations

import re
import shutil

import pytest

from motivnet.artifact import open_artifact, own_files
from motivnet.errors import FileError
from motivnet_bench.latency.result import LatencyResult, read_result
from motivnet_bench.report.files import (
    INTERRUPTED_FILES,
    LATENCY_FILES,
    VIABILITY_FILES,
    check_folder,
    write_latency,
    write_viability,
)
from motivnet_bench.viability.result import ViabilityResult


def test_the_report_is_three_files_and_its_json_makes_the_same_again(plant_result, tmp_path):
    paths = write_latency(plant_result(), tmp_path)
    assert [path.name for path in paths] == ["report.json", "report.md", "report.html"]
    again = write_latency(read_result(paths[0]), tmp_path / "again")
    assert [path.read_bytes() for path in paths] == [path.read_bytes() for path in again]


def test_a_folder_that_is_a_file_is_refused_before_the_run(tmp_path):
    path = tmp_path / "file"
    path.write_text("")
    with pytest.raises(FileError, match="is a file; choose another folder"):
        check_folder(path / "below", LatencyResult)
    check_folder(tmp_path / "new" / "folder", LatencyResult)


@pytest.mark.parametrize("name", LATENCY_FILES + INTERRUPTED_FILES)
def test_a_users_file_with_the_name_of_a_report_is_not_written_over(name, plant_result, tmp_path):
    (tmp_path / name).write_text("mine")
    for call in (
        lambda: check_folder(tmp_path, LatencyResult),
        lambda: write_latency(plant_result(), tmp_path),
    ):
        with pytest.raises(
            FileError, match=f"{re.escape(name)} is not a report of this command; move it away, or"
        ):
            call()
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {name: "mine"}


def test_an_interrupted_run_replaces_no_report_but_that_of_another(
    plant_result, fp16_artifact, tmp_path
):
    folder = shutil.copytree(fp16_artifact, tmp_path / "artifact")
    complete = write_latency(plant_result(1.0), folder)
    before = [path.read_bytes() for path in complete]
    for rounds in (1, 2):
        interrupted = write_latency(plant_result(interrupted_after=rounds), folder)
    assert [path.name for path in interrupted] == [*INTERRUPTED_FILES]
    assert [path.read_bytes() for path in complete] == before
    assert read_result(interrupted[0]).interrupted_after == 2
    listed = [entry.path for entry in open_artifact(folder).manifest.reports]
    assert listed == [*LATENCY_FILES, *INTERRUPTED_FILES]
    write_latency(plant_result(2.0), folder)


@pytest.mark.parametrize("kind", [LatencyResult, ViabilityResult])
def test_a_folder_that_the_system_refuses_cannot_be_written(kind, tmp_path):
    folder = tmp_path / ("x" * 300) / "report"
    with pytest.raises(FileError, match=r"--out .* cannot be written: File name too long"):
        check_folder(folder, kind)


def test_a_report_is_written_over_an_older_one(plant_result, tmp_path):
    write_latency(plant_result(1.0), tmp_path)
    paths = write_latency(plant_result(2.0), tmp_path)
    assert read_result(paths[0]) == plant_result(2.0)


def test_a_report_in_an_artifact_is_in_its_list_and_the_artifact_no_newer(
    plant_result, viability_result, fp16_artifact, tmp_path
):
    folder = shutil.copytree(fp16_artifact, tmp_path / "artifact")
    time = (folder / "manifest.json").stat().st_mtime_ns
    for _ in range(2):
        write_latency(plant_result(), folder)
        (folder / "report.json").unlink()  # the list alone tells that the others are ours
    write_viability(viability_result, folder)
    artifact = open_artifact(folder)
    artifact.verify_files()
    assert [entry.path for entry in artifact.manifest.reports] == [*LATENCY_FILES, *VIABILITY_FILES]
    assert own_files(folder) >= {*LATENCY_FILES, *VIABILITY_FILES, "model.onnx", "manifest.json"}
    assert (folder / "manifest.json").stat().st_mtime_ns == time


@pytest.mark.parametrize("text", ["mine", '{"kind": "viability"}', "[]"])
def test_a_users_file_with_the_name_of_a_viability_report_is_not_written_over(text, tmp_path):
    (tmp_path / "viability.json").write_text(text)
    with pytest.raises(
        FileError, match=r"viability\.json is not a report of this command; move it away, or choose"
    ):
        check_folder(tmp_path, ViabilityResult)
