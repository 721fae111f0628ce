"""What is random about a drawn face: the person, the scene, and the version of an expression."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from motivnet.errors import ConfigError

Colour = NDArray[np.float64]
"""Red, green and blue in grey levels."""

_SKIN_TONES = np.array(
    [
        (250, 220, 196),
        (238, 200, 170),
        (224, 178, 143),
        (198, 146, 108),
        (158, 106, 74),
        (118, 77, 54),
        (84, 56, 42),
    ],
    np.float64,
)
_HAIR_COLOURS = np.array(
    [
        (24, 20, 20),
        (48, 34, 26),
        (84, 56, 36),
        (130, 88, 50),
        (186, 146, 88),
        (150, 70, 36),
        (170, 168, 166),
    ],
    np.float64,
)
_EYE_COLOURS = np.array(
    [(70, 44, 26), (96, 64, 36), (92, 104, 60), (80, 110, 140), (110, 124, 130)], np.float64
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Person:
    """The proportions and colours of one face.

    Lengths are in half heads: the chin is 1 below the centre.
    """

    skin: Colour
    hair: Colour
    eyes: Colour
    lips: Colour
    half_width: float
    jaw: float
    eye_distance: float
    eye_width: float
    eye_height: float
    eye_line: float
    brow_height: float
    brow_thickness: float
    brow_arch: float
    nose_width: float
    nose_tip: float
    mouth_line: float
    mouth_width: float
    lip_thickness: float
    hair_length: float
    hair_line: float
    parting: float
    gaze: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """Pose, light and camera.

    ``shift`` is in half heads, ``roll`` in radians, ``yaw`` and ``light`` are from -1 to 1.
    """

    scale: float
    shift: tuple[float, float]
    roll: float
    yaw: float
    light: tuple[float, float]
    contrast: float
    brightness: float
    warmth: float
    noise: float
    blur: float
    background: NDArray[np.float64]
    clothes: Colour


def sample_person(rng: np.random.Generator) -> Person:
    """Return a random person."""
    skin = np.clip(_between(_SKIN_TONES, rng) + rng.normal(0, 4, 3), 40, 252)
    hair = np.clip(_between(_HAIR_COLOURS, rng) + rng.normal(0, 5, 3), 5, 250)
    if abs(hair.mean() - skin.mean()) < 45:  # brows must be seen
        hair = hair * 0.45
    redness = rng.uniform(0.3, 0.8)
    return Person(
        skin=skin,
        hair=hair,
        eyes=_EYE_COLOURS[rng.integers(len(_EYE_COLOURS))],
        lips=skin * (1.0 - redness * np.array([0.12, 0.45, 0.38])),
        half_width=rng.uniform(0.7, 0.82),
        jaw=rng.uniform(0.55, 0.85),
        eye_distance=rng.uniform(0.31, 0.36),
        eye_width=rng.uniform(0.145, 0.175),
        eye_height=rng.uniform(0.058, 0.075),
        eye_line=rng.uniform(-0.16, -0.08),
        brow_height=rng.uniform(0.19, 0.23),
        brow_thickness=rng.uniform(0.03, 0.055),
        brow_arch=rng.uniform(0.02, 0.06),
        nose_width=rng.uniform(0.11, 0.15),
        nose_tip=rng.uniform(0.2, 0.27),
        mouth_line=rng.uniform(0.5, 0.56),
        mouth_width=rng.uniform(0.24, 0.29),
        lip_thickness=rng.uniform(0.045, 0.075),
        hair_length=float(rng.choice([0.0, 0.3, 0.9, 1.3]) + rng.uniform(-0.1, 0.1)),
        hair_line=rng.uniform(-0.72, -0.56),
        parting=rng.uniform(-0.6, 0.6),
        gaze=rng.uniform(-0.25, 0.25),
    )


def sample_scene(rng: np.random.Generator) -> Scene:
    """Return a random pose, light and background."""
    return Scene(
        scale=rng.uniform(0.95, 1.05),
        shift=(rng.uniform(-0.04, 0.04), rng.uniform(-0.04, 0.04)),
        roll=rng.normal(0, 0.04),
        yaw=rng.uniform(-0.35, 0.35),
        light=(rng.uniform(-1, 1), rng.uniform(-0.6, 0.2)),
        contrast=rng.uniform(0.05, 0.3),
        brightness=rng.uniform(0.8, 1.1),
        warmth=rng.uniform(-0.06, 0.06),
        noise=rng.uniform(1.0, 5.0),
        blur=rng.uniform(0.0, 0.5),
        background=rng.uniform(30, 225) + rng.normal(0, 25, 3) + rng.normal(0, 16, (4, 3, 3)),
        clothes=rng.uniform(20, 220) + rng.normal(0, 40, 3),
    )


def _between(palette: NDArray[np.float64], rng: np.random.Generator) -> Colour:
    """Return a colour on the line through neighbours of a palette."""
    position = rng.uniform(0, len(palette) - 1)
    index = int(position)
    start, end = palette[index : index + 2]
    return np.asarray(start + (end - start) * (position - index), np.float64)


@dataclass(frozen=True, slots=True, kw_only=True)
class Expression:
    """The movement of each part of a face; 0 is at rest, 1 as far as a strong expression goes.

    ``one_sided`` takes the corner lift and the brow raise away from one half of the face;
    ``mirrored`` from the other.
    """

    inner_brow: float = 0.0
    outer_brow: float = 0.0
    brow_pinch: float = 0.0
    upper_lid: float = 0.0
    lower_lid: float = 0.0
    nose_wrinkle: float = 0.0
    cheek_raise: float = 0.0
    corner_lift: float = 0.0
    mouth_stretch: float = 0.0
    jaw_drop: float = 0.0
    upper_lip_raise: float = 0.0
    lip_press: float = 0.0
    squareness: float = 0.0
    one_sided: float = 0.0
    mirrored: bool = False


_EXPRESSIONS: dict[str, tuple[Expression, ...]] = {
    "neutral": (Expression(),),
    "happiness": (
        Expression(
            lower_lid=0.6,
            upper_lid=-0.2,
            cheek_raise=1.0,
            corner_lift=0.9,
            mouth_stretch=0.6,
            jaw_drop=0.3,
        ),
        Expression(
            lower_lid=0.5, upper_lid=-0.2, cheek_raise=1.0, corner_lift=1.0, mouth_stretch=0.7
        ),
    ),
    "sadness": (
        Expression(
            inner_brow=0.9,
            outer_brow=-0.6,
            brow_pinch=0.15,
            upper_lid=-0.5,
            corner_lift=-1.0,
            lip_press=0.2,
        ),
    ),
    "surprise": (
        Expression(inner_brow=1.0, outer_brow=1.0, upper_lid=0.9, mouth_stretch=-0.6, jaw_drop=1.0),
    ),
    "fear": (
        Expression(
            inner_brow=1.0,
            outer_brow=0.2,
            brow_pinch=0.9,
            upper_lid=1.0,
            lower_lid=0.3,
            corner_lift=-0.3,
            mouth_stretch=0.8,
            jaw_drop=0.35,
            squareness=0.5,
        ),
    ),
    "disgust": (
        Expression(
            inner_brow=-0.5,
            outer_brow=-0.3,
            upper_lid=-0.4,
            lower_lid=0.7,
            nose_wrinkle=1.0,
            cheek_raise=0.6,
            corner_lift=-0.5,
            jaw_drop=0.1,
            upper_lip_raise=1.0,
        ),
    ),
    "anger": (
        Expression(
            inner_brow=-1.0,
            outer_brow=0.1,
            brow_pinch=1.0,
            upper_lid=0.1,
            lower_lid=0.4,
            corner_lift=-0.3,
            lip_press=1.0,
        ),
        Expression(
            inner_brow=-1.0,
            outer_brow=0.1,
            brow_pinch=1.0,
            upper_lid=0.2,
            lower_lid=0.4,
            corner_lift=-0.2,
            jaw_drop=0.35,
            upper_lip_raise=0.35,
            squareness=1.0,
        ),
    ),
    "contempt": (
        Expression(
            outer_brow=0.4,
            upper_lid=-0.25,
            cheek_raise=0.5,
            corner_lift=1.0,
            lip_press=0.3,
            one_sided=1.0,
        ),
    ),
}
"""Variants of each emotion, after the FACS Investigator's Guide (Ekman, Friesen & Hager 2002)."""


def sample_expression(emotion: str, rng: np.random.Generator) -> Expression:
    """Return a random version of an emotion: a variant, its strength, and noise on each part.

    Every emotion takes the same number of draws from ``rng``.

    Raises:
        ConfigError: If there is no such emotion.
    """
    if emotion not in _EXPRESSIONS:
        raise ConfigError(
            f"no face is drawn for {emotion!r}; the emotions are {', '.join(_EXPRESSIONS)}"
        )
    choice, mirrored = rng.random(), rng.random() < 0.5
    intensity = rng.uniform(0.85, 1.15)
    variants = _EXPRESSIONS[emotion]
    variant = variants[int(choice * len(variants))]
    moves = {
        field.name: getattr(variant, field.name) * intensity + rng.normal(0, 0.05)
        for field in dataclasses.fields(Expression)
        if field.name not in ("one_sided", "mirrored")
    }
    return dataclasses.replace(variant, **moves, mirrored=mirrored)
