"""Everything about a drawn face that the emotion does not touch: the person, the pose and the picture."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

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
    """The proportions and colours of one face. Lengths are in half heads: the chin is 1 below the centre."""

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
    """Pose, light and camera. ``shift`` is in half heads, ``roll`` in radians, ``yaw`` and ``light`` from -1 to 1."""

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
    """A person drawn at random."""
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
    """A pose, a light and a background drawn at random."""
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
    """A colour on the line through neighbours of a palette."""
    position = rng.uniform(0, len(palette) - 1)
    index = int(position)
    return np.asarray(
        palette[index] + (palette[index + 1] - palette[index]) * (position - index), np.float64
    )
