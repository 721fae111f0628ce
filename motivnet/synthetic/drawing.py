"""The parts of a drawn face: background, shoulders, hair and head, then what an emotion moves."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from motivnet.synthetic.canvas import Canvas, Points, curve, ellipse
from motivnet.synthetic.person import Expression, Person, Scene

_SIDES = (-1.0, 1.0)
_SCLERA = np.array([240.0, 238.0, 234.0])
_PUPIL = np.array([14.0, 12.0, 12.0])
_TEETH = np.array([244.0, 240.0, 230.0])
_THROAT = np.array([62.0, 20.0, 22.0])


def draw_background(canvas: Canvas, scene: Scene) -> None:
    """Draw a blurred wall of a few colours that run into one another."""
    height, width = canvas.pixels.shape[:2]
    coarse = np.clip(scene.background, 0, 255).astype(np.uint8)
    canvas.pixels[:] = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)


def draw_shoulders(canvas: Canvas, person: Person, scene: Scene) -> None:
    """Draw long hair behind the head, the neck and the clothes."""
    if person.hair_length > 0.6:
        low = person.hair_length
        canvas.fill(
            ellipse((0.0, low / 2 - 0.45), (person.half_width * 1.22, 0.55 + low / 2)),
            person.hair * 0.85,
        )
    neck = person.half_width * 0.55
    canvas.fill(
        np.array([(-neck, 0.6), (neck, 0.6), (neck * 1.05, 1.5), (-neck * 1.05, 1.5)]),
        person.skin * 0.8,
    )
    canvas.fill(
        np.vstack(
            [
                curve((-1.6, 2.2), (-1.4, 1.15), (-neck, 1.22)),
                curve((neck, 1.22), (1.4, 1.15), (1.6, 2.2)),
            ]
        ),
        scene.clothes,
    )


def draw_head(canvas: Canvas, person: Person) -> None:
    """Draw ears and the bare head."""
    for side in _SIDES:
        canvas.fill(
            ellipse((side * person.half_width, person.eye_line + 0.12), (0.09, 0.18)),
            person.skin * 0.9,
        )
    canvas.fill(_outline(person), person.skin)


def draw_hair(canvas: Canvas, person: Person) -> None:
    """Draw hair over the forehead, parted, with sides down to its length."""
    if person.hair_length < 0.12:
        return
    half, line, top = person.half_width, person.hair_line, -1.14
    side = min(person.eye_line + 0.1, line + 0.35 * person.hair_length + 0.25)
    part = person.parting * half
    crown = curve(
        (-half * 1.06, side),
        (-half * 1.25, top * 1.15),
        (half * 1.25, top * 1.15),
        (half * 1.06, side),
        samples=24,
    )
    fringe = np.vstack(
        [
            curve((half * 1.06, side), (half * 0.9, line - 0.06), (part, line - 0.1)),
            curve((part, line - 0.1), (-half * 0.9, line - 0.06), (-half * 1.06, side)),
        ]
    )
    canvas.fill(np.vstack([crown, fringe]), person.hair)
    canvas.stroke(curve((part, line - 0.1), (part * 0.9, -0.9)), person.hair * 0.8, 0.02)


def light(canvas: Canvas, scene: Scene) -> NDArray[np.uint8]:
    """Return the picture with light: brighter on one side, darker towards the edges of the head."""
    height, width = canvas.pixels.shape[:2]
    rows, columns = np.mgrid[0 : height : height / 16, 0 : width : width / 12]
    x = (columns - canvas.matrix[0, 2]) / canvas.unit
    y = (rows - canvas.matrix[1, 2]) / canvas.unit
    slope = np.clip(x, -1.2, 1.2) * scene.light[0] + np.clip(y, -1.2, 1.2) * scene.light[1]
    gain = scene.brightness * (1 + scene.contrast * slope - 0.1 * np.clip(x**2 + y**2 / 2, 0, 1.5))
    tint = np.array([1 + scene.warmth, 1.0, 1 - scene.warmth])
    smooth = cv2.resize(
        (gain[:, :, None] * tint).astype(np.float32),
        (width, height),
        interpolation=cv2.INTER_LINEAR,
    )
    return np.asarray(cv2.multiply(canvas.pixels, smooth, dtype=cv2.CV_8U), np.uint8)


def _outline(person: Person) -> Points:
    """Return the outline of the head: half an ellipse, then cheeks that narrow to the chin."""
    half, jaw = person.half_width, person.half_width * person.jaw
    skull = ellipse((0.0, -0.05), (half, 0.98), 48)
    skull = skull[skull[:, 1] <= 0.0]
    order = np.argsort(skull[:, 0])
    right = curve((half, 0.0), (half * 0.98, 0.55), (jaw * 0.95, 0.98), (0.0, 1.0), samples=20)
    left = right[::-1] * (-1, 1)
    return np.vstack([skull[order], right, left])


def draw_brows(canvas: Canvas, person: Person, expression: Expression) -> None:
    """Draw two tapered brows, with furrows between them if they are pinched."""
    colour = person.hair * 0.75
    for side in _SIDES:
        share = _share(expression, side)
        base = person.eye_line - person.brow_height
        inner_x = person.eye_distance - person.eye_width - 0.04 - 0.05 * expression.brow_pinch
        outer_x = person.eye_distance + person.eye_width + 0.05
        inner_y = base - 0.14 * expression.inner_brow + 0.03 * max(0.0, expression.brow_pinch)
        outer_y = base + 0.03 - 0.14 * expression.outer_brow * share
        arch_y = (
            (inner_y + outer_y) / 2
            - person.brow_arch
            - 0.05 * max(0.0, expression.outer_brow) * share
        )
        thick = person.brow_thickness
        upper = curve(
            (side * inner_x, inner_y - thick),
            (side * (inner_x + outer_x) / 2, arch_y - thick),
            (side * outer_x, outer_y),
        )
        lower = curve(
            (side * outer_x, outer_y),
            (side * (inner_x + outer_x) / 2, arch_y + thick / 2),
            (side * inner_x, inner_y + thick / 2),
        )
        canvas.fill(np.vstack([upper, lower]), colour)
        _draw_furrow(canvas, person, side, expression.brow_pinch)


def draw_eyes(canvas: Canvas, person: Person, expression: Expression) -> None:
    """Draw two eyes between their lids."""
    for side in _SIDES:
        _draw_eye(canvas, person, expression, side)


def draw_nose(canvas: Canvas, person: Person, expression: Expression) -> None:
    """Draw the shadow of the nose, the nostrils, and wrinkles if the nose is drawn up."""
    wrinkle = max(0.0, expression.nose_wrinkle)
    tip, half = person.nose_tip - 0.05 * wrinkle, person.nose_width * (1 + 0.15 * wrinkle)
    canvas.stroke(
        curve((0.055, person.eye_line + 0.06), (0.06, tip - 0.15), (half, tip - 0.04)),
        person.skin * 0.86,
        0.025,
    )
    for side in _SIDES:
        wing, below = (side * half, tip - 0.02), (side * half * 0.6, tip + 0.06)
        canvas.stroke(curve(wing, below, (0.0, tip + 0.05)), person.skin * 0.72, 0.02)
    for side in _SIDES:
        canvas.fill(ellipse((side * half * 0.5, tip + 0.02), (0.03, 0.018), 12), person.skin * 0.4)
        if wrinkle > 0.2:
            for row in (0.0, 0.055, 0.11):
                y = person.eye_line + row
                canvas.stroke(
                    curve((side * 0.1, y + 0.045), (side * 0.05, y - 0.01), (0.0, y)),
                    person.skin * 0.62,
                    0.02,
                )


def draw_cheeks(canvas: Canvas, person: Person, expression: Expression) -> None:
    """Draw the folds from the nose to the corners of the mouth, deeper the higher the cheeks."""
    for side in _SIDES:
        depth = max(
            0.0, expression.cheek_raise * _share(expression, side), 0.8 * expression.nose_wrinkle
        )
        if depth < 0.2:
            continue
        corner_x = person.mouth_width * (1.35 + 0.3 * max(0.0, expression.mouth_stretch))
        fold = curve(
            (side * person.nose_width * 1.25, person.nose_tip - 0.05),
            (side * corner_x, person.nose_tip + 0.05),
            (side * corner_x, person.mouth_line - 0.02),
        )
        canvas.stroke(fold, person.skin * (1 - 0.3 * min(depth, 1.0)), 0.022)


def draw_mouth(canvas: Canvas, person: Person, expression: Expression) -> None:
    """Draw lips around an opening with teeth and throat."""
    left, right = _corners(person, expression)
    thick = person.lip_thickness * (1 - 0.65 * np.clip(expression.lip_press, 0, 1))
    drop = 0.3 * max(0.0, expression.jaw_drop)
    lift = 0.11 * max(0.0, expression.upper_lip_raise)
    middle = (
        person.mouth_line
        - lift
        + 0.02 * (expression.corner_lift if not expression.one_sided else 0)
    )
    top_in, bottom_in = middle - 0.25 * drop, middle + lift * 0.55 + drop
    upper_out, upper_in, lower_in, lower_out = (
        _lip(left, right, height, expression.squareness)
        for height in (top_in - thick, top_in, bottom_in, bottom_in + 1.3 * thick)
    )
    canvas.fill(np.vstack([upper_out, lower_out[::-1]]), person.lips)
    if bottom_in - top_in > 0.03:
        _draw_opening(canvas, np.vstack([upper_in, lower_in[::-1]]), expression.squareness)
    else:
        canvas.stroke(upper_in, person.lips * 0.45, 0.025)
    canvas.stroke(lower_out[3:-3] + np.array((0, 0.05)), person.skin * 0.85, 0.02)


def _draw_furrow(canvas: Canvas, person: Person, side: float, pinch: float) -> None:
    if pinch > 0.3:
        x, y = side * 0.055, person.eye_line - person.brow_height
        canvas.stroke(
            curve((x, y - 0.05), (x * 0.8, y + 0.08)),
            person.skin * (1 - 0.35 * min(pinch, 1.0)),
            0.022,
        )


def _draw_eye(canvas: Canvas, person: Person, expression: Expression, side: float) -> None:
    x, y, half = side * person.eye_distance, person.eye_line, person.eye_width
    above = person.eye_height * max(0.15, 1 + 0.75 * expression.upper_lid)
    below = person.eye_height * max(
        0.1, 0.75 - 0.65 * expression.lower_lid + 0.3 * max(0.0, expression.upper_lid)
    )
    upper = curve(
        (x - half, y),
        (x - half * 0.5, y - 1.5 * above),
        (x + half * 0.5, y - 1.5 * above),
        (x + half, y),
    )
    lower = curve(
        (x + half, y),
        (x + half * 0.5, y + 1.4 * below),
        (x - half * 0.5, y + 1.4 * below),
        (x - half, y),
    )
    eyeball, mask = canvas.inside(np.vstack([upper, lower]))
    iris, centre = 0.078, (x + person.gaze * half * 0.6, y - 0.005)
    eyeball.fill(ellipse((x, y), (half * 1.3, 0.3)), _SCLERA * (0.8 + 0.2 * person.skin[0] / 255))
    eyeball.fill(ellipse(centre, (iris, iris)), person.eyes)
    eyeball.fill(ellipse(centre, (iris * 0.5, iris * 0.5), 12), _PUPIL)
    eyeball.fill(ellipse((centre[0] + 0.025, centre[1] - 0.025), (0.015, 0.015), 8), _SCLERA)
    canvas.keep(eyeball, mask)
    canvas.stroke(upper, person.hair * 0.35, 0.03)
    canvas.stroke(upper - np.array((0, 0.055)), person.skin * 0.75, 0.016)
    canvas.stroke(lower, person.skin * 0.68, 0.014)
    if expression.lower_lid > 0.25:
        canvas.stroke(lower[2:-2] + np.array((0, 0.045)), person.skin * 0.78, 0.018)


def _corners(
    person: Person, expression: Expression
) -> tuple[tuple[float, float], tuple[float, float]]:
    half = person.mouth_width * (1 + 0.32 * expression.mouth_stretch)
    ends = []
    for side in _SIDES:
        lift = 0.13 * expression.corner_lift * _share(expression, side)
        drop = 0.11 * max(0.0, expression.jaw_drop)
        widening = 1 + 0.15 * max(0.0, lift / 0.13)
        ends.append((side * half * widening, person.mouth_line - lift + drop))
    return ends[0], ends[1]


def _lip(
    left: tuple[float, float], right: tuple[float, float], middle: float, squareness: float
) -> Points:
    """Return a line from corner to corner through a height; a square one has steep corners."""
    pull = 0.5 - 0.32 * float(np.clip(squareness, 0, 1))
    mean = (left[1] + right[1]) / 2
    knot = mean + (middle - mean) * 4 / 3
    span = right[0] - left[0]
    return curve(
        left,
        (left[0] + pull * 0.6 * span, knot),
        (right[0] - pull * 0.6 * span, knot),
        right,
        samples=16,
    )


def _draw_opening(canvas: Canvas, outline: Points, squareness: float) -> None:
    """Draw the throat and the upper teeth; a square mouth shows the lower ones too."""
    inside, mask = canvas.inside(outline)
    (left, top), (right, bottom) = outline.min(axis=0), outline.max(axis=0)
    height = min(0.1, 0.5 * (bottom - top))
    inside.fill(outline, _THROAT)
    inside.fill(_box(left, top, right, top + height), _TEETH)
    if squareness > 0.3:
        inside.fill(_box(left, bottom - 0.75 * height, right, bottom), _TEETH * 0.94)
    canvas.keep(inside, mask)


def _box(left: float, top: float, right: float, bottom: float) -> Points:
    return np.array([(left, top), (right, top), (right, bottom), (left, bottom)])


def _share(expression: Expression, side: float) -> float:
    """Return how much of a movement one half of the face makes."""
    return 1.0 - expression.one_sided if (side > 0) == expression.mirrored else 1.0
