"""The order of the labels, on which every trained head depends."""

from __future__ import annotations

import pytest

from motivnet.errors import ConfigError
from motivnet.labels import EMOTIONS, is_label, label_from_name, labels_for


def test_the_emotions_are_in_the_order_of_the_published_outputs() -> None:
    assert EMOTIONS == (
        "neutral",
        "happiness",
        "sadness",
        "surprise",
        "fear",
        "disgust",
        "anger",
        "contempt",
    )


@pytest.mark.parametrize(
    ("num_classes", "labels"),
    [
        (7, EMOTIONS[:7]),
        (8, EMOTIONS),
        (1, ("class_0",)),
        (3, ("class_0", "class_1", "class_2")),
        (9, tuple(f"class_{index}" for index in range(9))),
    ],
)
def test_seven_and_eight_classes_are_emotions_and_others_have_numbers(
    num_classes: int, labels: tuple[str]
) -> None:
    assert labels_for(num_classes) == labels


@pytest.mark.parametrize("text", ["joy", "très heureux", "喜び", "[/x]", "$x$", "=1"])
def test_a_printable_text_is_a_label(text: str) -> None:
    assert is_label(text)


@pytest.mark.parametrize(
    "text", ["", " ", "a\nb", "\x1b[2J", "\u202e", "\u200b", "\x9b", "\ud800", "x" * 101]
)
def test_what_cannot_be_drawn_or_listed_is_no_label(text: str) -> None:
    assert not is_label(text)


@pytest.mark.parametrize("num_classes", [0, -1, 10**9])
def test_a_model_without_classes_or_with_too_many_has_no_labels(num_classes: int) -> None:
    with pytest.raises(ConfigError, match=f"1 to 65,536 classes, not {num_classes:,}"):
        labels_for(num_classes)


@pytest.mark.parametrize(
    ("name", "label"),
    [
        ("Happy", "happiness"),
        ("7_contempt", "contempt"),
        ("0-Neutral", "neutral"),
        ("03. sad ", "sadness"),
        ("Suprise", "surprise"),
        ("class_1", "Class_1"),
        ("3", None),
        ("3_", None),
        ("bored", None),
        ("happy2", None),
    ],
)
def test_a_folder_is_called_as_a_label_or_as_datasets_call_an_emotion(
    name: str, label: str | None
) -> None:
    assert label_from_name(name, ("Class_1",)) == label
