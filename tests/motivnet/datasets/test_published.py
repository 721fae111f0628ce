from __future__ import annotations

import dataclasses

import pytest

from motivnet.datasets.layouts import LAYOUTS
from motivnet.datasets.published import published_results
from motivnet.labels import EMOTIONS
from motivnet.metrics import ClassificationFigures


def test_the_table_is_that_of_the_two_versions():
    found = [(result.title, result.figures) for result in published_results()]
    first = {
        "accuracy": 0.5749,
        "uar": 0.5749,
        "macro_precision": 0.5799,
        "macro_f1": 0.5741,
        "auroc": 0.9039,
    }
    assert found == [
        ("AffectNet, first version", first),
        ("AffectNet, second version", {"accuracy": 0.6252}),
        ("FER2013, second version", {"accuracy": 0.5387}),
        ("CK+, second version", {"accuracy": 0.80}),
    ]


def test_every_published_figure_is_one_of_ours():
    ours = {field.name for field in dataclasses.fields(ClassificationFigures)}
    assert all(set(result.figures) <= ours for result in published_results())


def test_only_the_layouts_of_a_dataset_are_the_same_data():
    same = {
        layout.name: {
            result.dataset for result in published_results(layout.name) if result.same_data
        }
        for layout in LAYOUTS
    }
    assert {layout: datasets for layout, datasets in same.items() if datasets} == {
        "AffectNet (CSV lists)": {"AffectNet"},
        "AffectNet (npy labels)": {"AffectNet"},
        "FER2013": {"FER2013"},
    }


@pytest.mark.parametrize(
    ("layout", "parts", "labels", "same"),
    [
        ("AffectNet (CSV lists)", ("test",), EMOTIONS, {"AffectNet"}),
        ("AffectNet (CSV lists)", ("test",), EMOTIONS[::-1], {"AffectNet"}),
        ("AffectNet (CSV lists)", ("test",), EMOTIONS[:7], set()),  # without contempt
        (
            "AffectNet (npy labels)",
            (),
            EMOTIONS,
            set(),
        ),  # without its validation set, all else is to train on
        ("FER2013", ("val", "test"), EMOTIONS[:7], {"FER2013"}),
        ("FER2013", ("val", "test"), EMOTIONS, {"FER2013"}),  # has no contempt to be dropped
        ("FER2013", ("test",), EMOTIONS[:7], set()),  # PrivateTest alone
        ("FER2013", ("val", "test"), ("happiness", "anger"), set()),
        ("CK+", (), EMOTIONS, set()),
        (None, ("test",), EMOTIONS, set()),
    ],
)
def test_only_the_papers_part_of_a_dataset_with_all_its_classes_is_the_same_data(
    layout, parts, labels, same
):
    found = published_results(layout, parts=parts, labels=labels)
    assert {result.dataset for result in found if result.same_data} == same


def test_an_unknown_layout_is_other_data():
    assert not any(result.same_data for result in published_results())
