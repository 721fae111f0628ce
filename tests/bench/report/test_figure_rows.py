from __future__ import annotations

import dataclasses
import io

import numpy as np
import pytest
from rich.console import Console

from motivnet.datasets.published import published_results
from motivnet.metrics import ClassificationFigures, classification_figures
from motivnet_bench.accuracy_result import AccuracyResult, RuntimeAccuracy
from motivnet_bench.report.accuracy_terminal import accuracy_table
from motivnet_bench.report.columns import DASH
from motivnet_bench.report.figure_rows import TITLES, figure_rows, figure_text, published_note

LABELS = ("neutral", "happiness", "sadness")


@pytest.fixture(scope="module")
def figures():
    return classification_figures(
        np.array([0, 0, 1]), np.array([[0.5, 0.3, 0.2], [0.2, 0.5, 0.3], [0.1, 0.8, 0.1]]), LABELS
    )


def test_every_number_of_the_figures_has_a_row(figures):
    numbers = {field.name for field in dataclasses.fields(ClassificationFigures)} - {
        "recall",
        "confusion",
        "absent",
    }
    assert numbers - {"images"} == set(TITLES)
    titles = [row[0] for row in figure_rows([figures], ())]
    assert titles == [
        "images",
        *TITLES.values(),
        "recall neutral",
        "recall happiness",
        "recall sadness",
    ]


def test_a_row_has_ours_and_then_the_published_ones(figures):
    published = published_results()
    by_title = {row[0]: row[1:] for row in figure_rows([figures, figures], published)}
    assert by_title["accuracy (WAR)"] == (
        "66.67%",
        "66.67%",
        "57.49%",
        "62.52%",
        "53.87%",
        "80.00%",
    )
    assert by_title["recall sadness"] == (DASH,) * 6
    assert by_title["loss (cross-entropy)"][2:] == (DASH,) * 4
    assert by_title["AUROC (macro, one against the rest)"][2] == "0.9039"


@pytest.mark.parametrize(
    ("name", "value", "text"),
    [("auroc", None, DASH), ("loss", 1.5, "1.5000"), ("uar", 0.5, "50.00%")],
)
def test_a_figure_is_written_as_a_share_or_with_four_decimals(name, value, text):
    assert figure_text(name, value) == text


def test_published_figures_are_of_other_data_unless_the_dataset_is_theirs():
    assert "measured on other data" in published_note(published_results("class folders"))
    assert "those on FER2013 are of the same dataset" in published_note(
        published_results("FER2013")
    )


def test_the_terminal_shows_every_runtime_beside_the_published_figures(figures):
    result = AccuracyResult(
        artifact="demo",
        dataset="val",
        layout="class folders",
        part=None,
        labels=LABELS,
        runtimes=(RuntimeAccuracy(runtime="openvino", compute="float32", figures=figures),),
        published=published_results("class folders"),
        flips=(),
        unreadable={},
        skipped={},
    )
    console = Console(width=160, record=True, file=io.StringIO())
    console.print(accuracy_table(result))
    text = console.export_text()
    assert "AffectNet, first version" in text
    assert "no image of sadness: means are over the other classes" in text
    assert "measured on other data" in text
