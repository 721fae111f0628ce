from __future__ import annotations

import base64
import dataclasses
import re
import shutil
import xml.etree.ElementTree as ElementTree

import pytest

from motivnet.artifact import open_artifact, own_files
from motivnet.errors import ConfigError, FileError
from motivnet.printable import one_line, printable
from motivnet.terminal import show
from motivnet_bench.latency.result import read_result
from motivnet_bench.latency.results import rows_of
from motivnet_bench.report.columns import duration, rate
from motivnet_bench.report.html import html_from_result
from motivnet_bench.report.markdown import escape, markdown_from_result
from motivnet_bench.report.summary import verdict_of
from motivnet_bench.report.terminal import latency_table
from motivnet_bench.report.write import (
    NAMES,
    check_folder,
    check_writable,
    write_report,
    write_reports,
)
from motivnet_bench.viability import report as criteria_report

HOSTILE = '<script>alert("1")</script> & | `x` **y** $title$ \x1b]52;c;aGk=\x07\x9b2J\u202e\u200b\nsecond line'
SHOWN = printable(HOSTILE)


@pytest.fixture(scope="module")
def hostile(plant_result):
    """The planted result with a hostile text in every place where text can come from outside."""
    result = plant_result(command=HOSTILE)
    row = dataclasses.replace(result.candidates[0], name=HOSTILE)
    failed = dataclasses.replace(result.candidates[3], name=HOSTILE, error=HOSTILE)
    return dataclasses.replace(
        result,
        subject=dataclasses.replace(result.subject, name=HOSTILE, weights=HOSTILE),
        settings=dataclasses.replace(result.settings, image=HOSTILE),
        environment=dataclasses.replace(
            result.environment, processor=HOSTILE, versions={HOSTILE: HOSTILE}
        ),
        candidates=(row, *result.candidates[1:3], failed),
        parity=dataclasses.replace(result.parity, image_source=HOSTILE, warnings=(HOSTILE,)),
        warnings=(HOSTILE,),
    )


def test_hostile_texts_are_shown_and_not_run(hostile, page_of):
    page = page_of(html_from_result(hostile))
    assert "script" not in {tag for tag, _ in page.tags}
    assert page.text.count(SHOWN) >= 10


def test_no_report_has_what_a_terminal_obeys(hostile, capsys):
    show(latency_table(hostile))
    page = html_from_result(hostile)
    for text in (
        page,
        markdown_from_result(hostile),
        hostile.to_json().decode(),
        capsys.readouterr().out,
    ):
        assert text.replace("\n", "").isprintable()
    images = re.findall(r"base64,([^\"]+)", page)
    assert all(
        ElementTree.fromstring(base64.b64decode(image)).tag.endswith("svg") for image in images
    )


def test_a_page_asks_for_nothing_outside_itself(hostile, page_of):
    page = page_of(html_from_result(hostile))
    addresses = [
        value
        for _, attributes in page.tags
        for name, value in attributes.items()
        if name in ("src", "href")
    ]
    assert addresses
    assert all(address.startswith("data:image/svg+xml;base64,") for address in addresses)
    assert "url(" not in html_from_result(hostile)


def test_the_plots_are_svg_with_every_measured_candidate(plant_result):
    images = re.findall(r"base64,([^\"]+)", html_from_result(plant_result()))
    assert len(images) == 2
    for image in images:
        root = ElementTree.fromstring(base64.b64decode(image))
        assert root.tag.endswith("svg")


def test_the_same_result_gives_the_same_page(plant_result):
    assert html_from_result(plant_result()) == html_from_result(plant_result())


def test_a_result_without_any_figures_still_gives_a_report(plant_result, plant_outcome):
    rows = rows_of([plant_outcome("pytorch-fp32", role="baseline-fp32", error="died")], batch=1)
    result = dataclasses.replace(plant_result(), candidates=rows)
    assert "died" in html_from_result(result)
    assert "no default" in markdown_from_result(result)


def test_markdown_keeps_a_hostile_text_in_its_cell(hostile):
    text = markdown_from_result(hostile)
    assert "<script>" not in text.replace(r"\<script\>", "").replace(f"    {one_line(HOSTILE)}", "")
    rows = [line for line in text.splitlines() if line.startswith("| ")]
    cells = {len(re.split(r"(?<!\\)\|", line)) for line in rows[:6]}
    assert len(cells) == 1


def test_an_escaped_text_is_one_line():
    assert escape("a|b\n<c>") == r"a\|b \<c\>"


def test_the_report_is_three_files_and_its_json_makes_the_same_again(plant_result, tmp_path):
    paths = write_report(plant_result(), tmp_path)
    assert [path.name for path in paths] == ["report.json", "report.md", "report.html"]
    again = write_report(read_result(paths[0]), tmp_path / "again")
    assert [path.read_bytes() for path in paths] == [path.read_bytes() for path in again]


def test_a_file_that_is_no_result_is_named(tmp_path):
    path = tmp_path / "notes.json"
    path.write_text("{}")
    with pytest.raises(ConfigError, match=r"notes\.json: not a latency result"):
        read_result(path)


def test_a_folder_that_is_a_file_is_refused_before_the_run(tmp_path):
    path = tmp_path / "file"
    path.write_text("")
    with pytest.raises(FileError, match="is a file; choose another folder"):
        check_writable(path / "below")
    check_writable(tmp_path / "new" / "folder")


@pytest.mark.parametrize("name", NAMES)
def test_a_users_file_with_the_name_of_a_report_is_not_written_over(name, plant_result, tmp_path):
    (tmp_path / name).write_text("mine")
    for call in (lambda: check_folder(tmp_path), lambda: write_report(plant_result(), tmp_path)):
        with pytest.raises(
            FileError, match=f"{re.escape(name)} is not a report of this command; move it away, or"
        ):
            call()
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {name: "mine"}


def test_a_report_is_written_over_an_older_one(plant_result, tmp_path):
    write_report(plant_result(1.0), tmp_path)
    paths = write_report(plant_result(2.0), tmp_path)
    assert read_result(paths[0]) == plant_result(2.0)


def test_a_report_in_an_artifact_is_in_its_list_and_the_artifact_no_newer(
    plant_result, fp32_artifact, tmp_path
):
    folder = shutil.copytree(fp32_artifact, tmp_path / "artifact")
    time = (folder / "manifest.json").stat().st_mtime_ns
    for _ in range(2):
        write_report(plant_result(), folder)
        (folder / "report.json").unlink()  # the list alone tells that the others are ours
    write_reports(folder, {"criteria.html": b"page"})
    artifact = open_artifact(folder)
    artifact.verify_files()
    assert [entry.path for entry in artifact.manifest.reports] == [*NAMES, "criteria.html"]
    assert own_files(folder) >= {*NAMES, "criteria.html", "model.onnx", "manifest.json"}
    assert (folder / "manifest.json").stat().st_mtime_ns == time


@pytest.mark.parametrize("text", ["mine", '{"kind": "criteria"}', "[]"])
def test_a_users_file_with_the_name_of_a_criteria_report_is_not_written_over(text, tmp_path):
    (tmp_path / "criteria.json").write_text(text)
    with pytest.raises(
        FileError, match=r"criteria\.json is not a report of this command; move it away, or choose"
    ):
        criteria_report.check_folder(tmp_path)


def test_the_verdict_gives_both_speed_ups(plant_result):
    assert (
        verdict_of(plant_result(2.0))
        == "openvino is 4.0x PyTorch FP32 and 2.0x PyTorch BF16, 2.00 s an image."
    )


@pytest.mark.parametrize(("seconds", "named"), [(1.0, True), (1.96, False)])
def test_the_verdict_names_a_runtime_that_is_clearly_faster(
    plant_result, plant_outcome, seconds, named
):
    result = plant_result(2.0)
    rows = rows_of([plant_outcome("onnxruntime", ((seconds,), (seconds,)))], batch=1)
    result = dataclasses.replace(result, candidates=(*result.candidates, *rows))
    assert verdict_of(result).endswith("onnxruntime was faster still: 1.00 s.") is named


def test_the_verdict_says_when_its_figures_are_rough(plant_result, plant_outcome):
    rows = rows_of([plant_outcome("openvino", ((1.0,), (2.0,)), default=True)], batch=1)
    assert "Rough figures" in verdict_of(dataclasses.replace(plant_result(), candidates=rows))


def test_the_verdict_says_why_the_default_runtime_has_no_figures(plant_result, plant_outcome):
    rows = rows_of([plant_outcome("openvino", default=True, error="no answer within 5 s")], batch=1)
    assert "could not be measured: no answer" in verdict_of(
        dataclasses.replace(plant_result(), candidates=rows)
    )


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (21.52, "21.5 s"),
        (1.0, "1.00 s"),
        (0.9999, "1.00 s"),
        (0.1234, "123 ms"),
        (0.0041, "4.10 ms"),
        (7.3e-5, "73.0 µs"),
    ],
)
def test_durations_have_three_significant_digits(seconds, text):
    assert duration(seconds) == text


@pytest.mark.parametrize(
    ("value", "text"), [(0.0465, "0.046"), (1.234, "1.23"), (45.67, "45.7"), (1234.5, "1234")]
)
def test_rates_keep_their_digits_below_one(value, text):
    assert rate(value) == text
