from __future__ import annotations

import dataclasses
import io

import numpy as np
import pytest
from rich.console import Console

from motivnet.metrics import ClassificationMetrics, compute_metrics, published_results
from motivnet_bench.accuracy import AccuracyResult, Flip, RuntimeAccuracy
from motivnet_bench.report.accuracy import (
    MAX_FLIPS,
    TITLES,
    accuracy_report,
    data_notes,
    metric_text,
    metrics_table,
)
from motivnet_bench.report.document import DASH
from motivnet_bench.report.terminal import terminal_from_report

LABELS = ("neutral", "happiness", "sadness")


@pytest.fixture(scope="module")
def metrics():
    return compute_metrics(
        np.array([0, 0, 1]), np.array([[0.5, 0.3, 0.2], [0.2, 0.5, 0.3], [0.1, 0.8, 0.1]]), LABELS
    )


def test_every_number_of_the_metrics_has_a_row(metrics):
    fields = {field.name for field in dataclasses.fields(ClassificationMetrics)}
    assert fields - {"images", "recall", "confusion", "absent"} == set(TITLES)
    titles = [row.cells[0] for row in metrics_table({"ours": metrics}, ()).rows]
    assert titles == ["images", *TITLES.values(), *(f"recall {label}" for label in LABELS)]


def test_a_row_has_ours_and_then_the_published_ones(metrics):
    table = metrics_table({"a": metrics, "b": metrics}, published_results())
    by_title = {row.cells[0]: row.cells[1:] for row in table.rows}
    published = ["57.49%", "62.52%", "53.87%", "80.00%"]
    assert by_title["accuracy (WAR)"] == ("66.67%", "66.67%", *published)
    assert by_title["recall sadness"] == (DASH,) * 6
    assert by_title["loss (cross-entropy)"][2:] == (DASH,) * 4
    assert by_title["AUROC (macro, one against the rest)"][2] == "0.9039"


@pytest.mark.parametrize(
    ("name", "value", "text"),
    [("auroc", None, DASH), ("loss", 1.5, "1.5000"), ("uar", 0.5, "50.00%")],
)
def test_a_metric_is_written_as_a_share_or_with_four_decimals(name, value, text):
    assert metric_text(name, value) == text


@pytest.mark.parametrize(
    ("dataset_format", "said"),
    [
        ("class folders", "measured on other data"),
        ("FER2013", "those on FER2013 are of the same dataset"),
    ],
)
def test_published_metrics_are_of_other_data_unless_the_dataset_is_theirs(
    metrics, dataset_format, said
):
    assert said in data_notes(metrics, published_results(dataset_format))[-1]


def test_the_terminal_shows_every_runtime_beside_the_published_metrics(metrics):
    result = AccuracyResult(
        artifact="demo",
        dataset="val",
        dataset_format="class folders",
        split=None,
        labels=LABELS,
        runtimes=(RuntimeAccuracy(runtime="openvino", compute="float32", metrics=metrics),),
        published=published_results("class folders"),
        flips=tuple(
            Flip(image=f"{i}.png", truth="sadness", predicted={"a": "neutral", "b": "sadness"})
            for i in range(MAX_FLIPS + 2)
        ),
        unreadable={},
        skipped={},
    )
    console = Console(width=160, record=True, file=io.StringIO())
    console.print(terminal_from_report(accuracy_report(result)))
    text = console.export_text()
    assert "AffectNet, first version" in text
    assert "no image of sadness: means are over the other classes" in text
    assert "measured on other data" in text
    assert "flip: 9.png (sadness): a says neutral, b says sadness" in text
    assert "and 2 more flips; --json lists all" in text
    assert "only openvino was measured; --runtime, repeated, compares several" in text
