"""Boxes and captions: in the picture, legible, and not on top of each other."""

from __future__ import annotations

import numpy as np
import pytest

from motivnet.prediction import UNKNOWN
from motivnet_engines.writers.drawing import caption, colour_of, draw_faces


def changed(before: np.ndarray, after: np.ndarray) -> np.ndarray:
    return (before != after).any(axis=2)


@pytest.mark.parametrize("level", [0, 128, 255])
@pytest.mark.parametrize("size", [(60, 50), (480, 640), (3000, 2000)])
def test_a_box_and_a_caption_can_be_seen_on_any_background(
    size: tuple[int, int], level: int, face
) -> None:
    pixels = np.full((*size, 3), level, np.uint8)
    box = (size[1] * 0.3, size[0] * 0.4, size[1] * 0.4, size[0] * 0.4)
    drawn = draw_faces(pixels, [face(box=box)])
    assert drawn.shape == pixels.shape
    assert (pixels == level).all()
    marks = changed(pixels, drawn)
    top, bottom, left = round(box[1]), round(box[1] + box[3]), round(box[0])
    assert marks[top : top + 12].any()
    assert marks[bottom - 12 : bottom].any()
    assert marks[(top + bottom) // 2, left : left + 20].any()
    assert not marks[(top + bottom) // 2, size[1] // 2]
    text = drawn[marks]
    assert np.ptp(text.astype(int).sum(axis=1)) > 300


@pytest.mark.parametrize(
    "box",
    [
        (0.0, 0.0, 40.0, 50.0),
        (260.0, 0.0, 40.0, 50.0),
        (0.0, 150.0, 40.0, 50.0),
        (259.5, 149.5, 40.5, 50.5),
        (0.0, 0.0, 300.0, 200.0),
        (-30.0, -30.0, 400.0, 400.0),
        (150.0, 100.0, 0.5, 0.5),
    ],
)
def test_a_face_at_the_border_has_its_caption_in_the_picture(box: tuple[float, ...], face) -> None:
    pixels = np.full((200, 300, 3), 60, np.uint8)
    drawn = draw_faces(pixels, [face("anger", box=box)])
    filled = (drawn == colour_of(face("anger"))).all(axis=2)
    rows, columns = np.nonzero(filled)
    assert filled.sum() > 300
    assert columns.max() - columns.min() > 50
    assert rows.max() < 200


def test_captions_of_neighbours_cover_neither_each_other_nor_a_face(face) -> None:
    pixels = np.zeros((400, 400, 3), np.uint8)
    labels = ("happiness", "sadness", "surprise", "fear")
    faces = [
        face(label, box=(60.0 + 85 * (i % 2), 100.0 + 95 * (i // 2), 70.0, 80.0))
        for i, label in enumerate(labels)
    ]
    together = draw_faces(pixels, faces)
    for one in faces:
        alone = (draw_faces(pixels, [one]) == colour_of(one)).all(axis=2).sum()
        beside = (together == colour_of(one)).all(axis=2).sum()
        assert beside == pytest.approx(alone, rel=0.05)
        assert one.box is not None
        inner = together[
            int(one.box.y) + 12 : int(one.box.y) + 68, int(one.box.x) + 12 : int(one.box.x) + 58
        ]
        assert (inner == 0).all()


def crowd(face, *, side: float) -> list:
    """As many faces as fit, a tenth of a face apart."""
    places = np.arange(4, 400 - side, side * 1.1)
    return [face("happiness", box=(float(x), float(y), side, side)) for y in places for x in places]


def filled(drawn: np.ndarray, face) -> np.ndarray:
    return (drawn == colour_of(face)).all(axis=2)


@pytest.mark.parametrize("side", [100.0, 60.0, 40.0])
def test_labels_of_a_crowd_leave_most_of_each_face_seen(side: float, face) -> None:
    faces = crowd(face, side=side)
    drawn = draw_faces(np.full((400, 400, 3), 60, np.uint8), faces)
    for one in faces:
        left, top = int(one.box.x), int(one.box.y)
        inner = drawn[top + 4 : top + int(side) - 4, left + 4 : left + int(side) - 4]
        assert (inner == 60).all(axis=2).mean() > 0.5


def test_faces_too_small_for_a_number_have_their_box_alone(face) -> None:
    faces = crowd(face, side=12.0)
    drawn = draw_faces(np.full((400, 400, 3), 60, np.uint8), faces)
    middle = faces[len(faces) // 2].box
    assert filled(drawn, faces[0])[
        int(middle.y) : int(middle.y + 12), int(middle.x) : int(middle.x + 12)
    ].any()
    assert (drawn[int(middle.y) + 6, int(middle.x) + 6] == 60).all()


def test_a_caption_grows_with_its_face(face) -> None:
    pixels = np.full((1500, 2000, 3), 60, np.uint8)
    spans = []
    for side in (100.0, 300.0):
        box = (800.0, 600.0, side, side)
        rows, columns = np.nonzero(changed(pixels, draw_faces(pixels, [face(box=box)])))
        spans.append((600 - rows.min(), np.ptp(columns)))
        assert spans[-1][1] <= 1.3 * side
    assert spans[1][0] > 2 * spans[0][0]


def test_a_picture_that_is_the_face_has_its_caption_in_the_corner(face) -> None:
    pixels = np.full((200, 300, 3), 60, np.uint8)
    marks = changed(pixels, draw_faces(pixels, [face()]))
    rows, columns = np.nonzero(marks)
    assert (rows.min(), columns.min()) == (0, 0)
    assert rows.max() < 60


@pytest.mark.parametrize("size", [(1, 1), (8, 400), (400, 8), (20, 20)])
def test_a_picture_without_room_is_drawn_into_all_the_same(size: tuple[int, int], face) -> None:
    pixels = np.full((*size, 3), 60, np.uint8)
    box = (0.0, 0.0, float(size[1]), float(size[0]))
    assert draw_faces(pixels, [face(box=box), face()]).shape == pixels.shape


def test_without_a_face_it_is_a_copy() -> None:
    pixels = np.full((20, 30, 3), 60, np.uint8)
    drawn = draw_faces(pixels, [])
    assert np.array_equal(drawn, pixels)
    assert not np.shares_memory(drawn, pixels)


def test_a_track_precedes_the_label(face) -> None:
    pixels = np.zeros((200, 300, 3), np.uint8)
    plain = draw_faces(pixels, [face()])
    numbered = draw_faces(pixels, [face()], tracks=[12_345])
    assert changed(pixels, numbered).sum() > 1.2 * changed(pixels, plain).sum()


def test_a_caption_has_the_label_and_the_confidence(face) -> None:
    assert caption(face("fear", confidence=0.984)) == "fear 98%"
    assert caption(face(UNKNOWN)) == UNKNOWN


def test_every_label_has_a_colour_of_its_own(face) -> None:
    names = [*face().probabilities, UNKNOWN]
    assert len({colour_of(face(name)) for name in names}) == len(names)
