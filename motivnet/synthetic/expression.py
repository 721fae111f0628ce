"""What an emotion does to brows, lids, nose and mouth."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import numpy as np

from motivnet.errors import ConfigError

_JITTER = 0.05
_FAINTEST, _FULL = 0.85, 1.15


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


_REST = Expression()
_PRESSED_ANGER = Expression(
    inner_brow=-1.0,
    outer_brow=0.1,
    brow_pinch=1.0,
    upper_lid=0.1,
    lower_lid=0.4,
    corner_lift=-0.3,
    lip_press=1.0,
)
_BARED_ANGER = Expression(
    inner_brow=-1.0,
    outer_brow=0.1,
    brow_pinch=1.0,
    upper_lid=0.2,
    lower_lid=0.4,
    corner_lift=-0.2,
    jaw_drop=0.35,
    upper_lip_raise=0.35,
    squareness=1.0,
)

_EXPRESSIONS: dict[str, tuple[Expression, ...]] = {
    "neutral": (_REST,),
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
    "anger": (_PRESSED_ANGER, _BARED_ANGER),
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
"""Variants of each emotion, after the prototypes in the FACS Investigator's Guide (Ekman, Friesen & Hager 2002)."""


def sample_expression(emotion: str, rng: np.random.Generator) -> Expression:
    """One person's version of an emotion: a variant of it, stronger or fainter, each part a little
    off.

    Every emotion takes the same number of draws from ``rng``.

    Raises:
        ConfigError: If the emotion has no expression.
    """
    if emotion not in _EXPRESSIONS:
        raise ConfigError(
            f"no face is drawn for {emotion!r}; the emotions are {', '.join(_EXPRESSIONS)}"
        )
    choice, mirrored = rng.random(), rng.random() < 0.5
    intensity = rng.uniform(_FAINTEST, _FULL)
    variants = _EXPRESSIONS[emotion]
    variant = variants[int(choice * len(variants))]
    moves = {
        field.name: getattr(variant, field.name) * intensity + rng.normal(0, _JITTER)
        for field in dataclasses.fields(Expression)
        if field.name not in ("one_sided", "mirrored")
    }
    return dataclasses.replace(variant, **moves, mirrored=mirrored)
