"""The points that an optimisation may measure: image sizes, shares of the tokens, students.

Cost and accuracy of a vision transformer follow the number of its tokens, which a smaller image
has fewer of, and of which some can be left out (``ModelConfig.keeping``). Both are planned, in the
order in which they tell most for the time that they take:

1. the image sizes with all their tokens, from the full one down in even steps of the logarithm of
   the tokens: each says whether the next smaller one is worth a look;
2. for the three largest sizes 60 % of the tokens, then 40 %, 20 %, 30 % and 80 %: if 60 % lose
   nothing, 80 % need not be measured, and if they lose too much, neither need the smaller shares;
3. the students, which are trained longest.

Precision and runtime are no part of a point. How fast a processor computes in a precision does not
depend on what the model has learnt, so that they are compared once, on the full model, and the
fastest pair measures every point.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

import msgspec

from motivnet.config import ModelConfig
from motivnet.errors import ConfigError
from motivnet.schema import Schema

SIZES = 6
SMALLEST_SHARE = 1 / 16
"""Of the full model's tokens, at the smallest of the sizes."""

SHARES = (0.6, 0.4, 0.2, 0.3, 0.8)
SIZES_WITH_SHARES = 3

STUDENT_SAVING = 10
"""A student has at least this many times fewer FLOP than the full model."""

Kind = Literal["full", "size", "tokens", "student"]


class Point(Schema, frozen=True, kw_only=True):
    """A model that may be measured: its cost is known before.

    Attributes:
        key: Names it in files.
        image_size: (height, width) in pixels.
        grid: Patches as (rows, columns).
        tokens: That the blocks compute; ``share`` of those of the grid.
        flop: Floating-point operations per image.
        config: Of a student, which has other weights than the full model.
    """

    key: str
    kind: Kind
    image_size: tuple[int, int]
    grid: tuple[int, int]
    tokens: int
    share: float = 1.0
    flop: int
    config: ModelConfig | None = None

    @property
    def title(self) -> str:
        """The point in a few words."""
        height, width = self.image_size
        if self.kind == "student":
            return f"student {self.key.removeprefix('student-')}"
        kept = f" with {self.share:.0%} of the tokens" if self.share < 1 else ""
        return f"{height}x{width}{kept}"

    def is_below(self, other: Point) -> bool:
        """Return whether the other one has the same weights, and all that this one has and more."""
        rows, columns = other.grid
        return (
            self.key != other.key
            and "student" not in (self.kind, other.kind)
            and self.grid[0] <= rows
            and self.grid[1] <= columns
            and self.tokens <= other.tokens
        )


def plan_points(config: ModelConfig, *, student: bool = False) -> tuple[Point, ...]:
    """Return the full model and the points, in the order in which they are to be measured.

    Raises:
        ConfigError: If the model keeps some of its tokens already, or its image has too few patches
            to be made smaller.
    """
    if config.encoder.kept_tokens is not None:
        raise ConfigError(
            f"the checkpoint keeps {config.encoder.tokens} of its tokens already; start from the "
            "model that has all of them"
        )
    sizes = tuple(_sizes(config))
    if len(sizes) < 2:
        height, width = config.encoder.image_size
        raise ConfigError(
            f"images of {height}x{width} pixels in patches of {config.encoder.patch_size} cannot "
            "be made smaller; start from a model of larger images"
        )
    shares = tuple(
        _with_share(point, share, config)
        for share in SHARES
        for point in sizes[:SIZES_WITH_SHARES]
        if point.tokens > 2
    )
    students = tuple(_students(config)) if student else ()
    kept = {(point.grid, point.tokens): point for point in reversed((*sizes, *shares))}
    return (*reversed(kept.values()), *students)


def _sizes(config: ModelConfig) -> Iterator[Point]:
    """Yield the full size and smaller ones of the nearest aspect ratio, the largest first."""
    rows, columns = config.encoder.grid_size
    seen: set[tuple[int, int]] = set()
    for step in range(SIZES):
        side = SMALLEST_SHARE ** (step / (SIZES - 1) / 2)
        height = max(1, round(rows * side))
        grid = height, max(1, round(columns * height / rows))
        if grid in seen:
            continue
        seen.add(grid)
        patch = config.encoder.patch_size
        size = grid[0] * patch, grid[1] * patch
        yield Point(
            key=f"{size[0]}x{size[1]}",
            kind="size" if step else "full",
            image_size=size,
            grid=grid,
            tokens=grid[0] * grid[1],
            flop=config.at(size).flop,
        )


def _with_share(point: Point, share: float, config: ModelConfig) -> Point:
    tokens = round(share * point.tokens)
    kept = config.at(point.image_size).keeping(range(tokens))
    return msgspec.structs.replace(
        point,
        key=f"{point.key}-{share:.0%}".removesuffix("%"),
        kind="tokens",
        tokens=tokens,
        share=share,
        flop=kept.flop,
    )


def _students(config: ModelConfig) -> Iterator[Point]:
    """Yield the named sizes that are cheap enough beside this model, else a slimmer one of it."""
    most = config.flop / STUDENT_SAVING
    found = False
    for name in ("vit-b", "vit-s", "vit-ti", "tiny"):
        named = ModelConfig.named(name, config.decoder.num_classes)
        if named.flop <= most:
            found = True
            yield _student(name, named)
    if not found:
        yield _student("slim", _slimmer(config, most))


def _student(name: str, config: ModelConfig) -> Point:
    return Point(
        key=f"student-{name}",
        kind="student",
        image_size=config.encoder.image_size,
        grid=config.encoder.grid_size,
        tokens=config.encoder.tokens,
        flop=config.flop,
        config=config,
    )


def _slimmer(config: ModelConfig, most: float) -> ModelConfig:
    """Return the model with fewer heads of the same width, and a smaller image, for a FLOP limit.

    A model that is not ten times ``tiny`` has no named student.
    """
    encoder, decoder, replace = config.encoder, config.decoder, msgspec.structs.replace
    heads = max(1, encoder.num_heads // 2)
    slim = replace(
        config,
        encoder=replace(
            encoder, num_heads=heads, embed_dim=encoder.embed_dim // encoder.num_heads * heads
        ),
        decoder=replace(decoder, depth=1),
    )
    fitting = [point.image_size for point in _sizes(slim) if point.flop <= most]
    return slim.at(fitting[0] if fitting else [p.image_size for p in _sizes(slim)][-1])
