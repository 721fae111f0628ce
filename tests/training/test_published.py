from __future__ import annotations

import dataclasses

from motivnet_training.datasets.layouts import LAYOUTS
from motivnet_training.metrics import ClassificationFigures
from motivnet_training.published import published_results


def test_the_table_is_that_of_the_two_versions():
    found = [(result.title, result.figures) for result in published_results()]
    first = {"accuracy": 0.5749, "uar": 0.5749, "macro_precision": 0.5799, "macro_f1": 0.5741, "auroc": 0.9039}
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
        layout.name: {result.dataset for result in published_results(layout.name) if result.same_data}
        for layout in LAYOUTS
    }
    assert {layout: datasets for layout, datasets in same.items() if datasets} == {
        "AffectNet (CSV lists)": {"AffectNet"},
        "AffectNet (npy labels)": {"AffectNet"},
        "FER2013": {"FER2013"},
        "CK+": {"CK+"},
    }


def test_an_unknown_layout_is_other_data():
    assert not any(result.same_data for result in published_results())
