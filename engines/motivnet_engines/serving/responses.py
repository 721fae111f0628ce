"""The types of what the service answers; the OpenAPI description is made from them."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from motivnet.schema import Schema

ErrorCode = Literal[
    "bad_request",
    "unauthorised",
    "forbidden",
    "not_found",
    "wrong_method",
    "too_slow",
    "too_large",
    "wrong_type",
    "bad_image",
    "too_many_headers",
    "failed",
    "overloaded",
    "draining",
    "late",
]

Count = Annotated[int, Meta(ge=0)]
Milliseconds = Annotated[float, Meta(ge=0)]
Probability = Annotated[float, Meta(ge=0, le=1)]


class ErrorDetail(Schema, frozen=True, kw_only=True):
    """What is wrong with one image of several."""

    code: ErrorCode
    message: str


class RequestErrorDetail(Schema, frozen=True, kw_only=True):
    """What is wrong with a request; ``request`` is its id, as in X-Request-Id and in the log."""

    code: ErrorCode
    message: Annotated[str, Meta(description="One line, for people.")]
    request: str


class ErrorBody(Schema, frozen=True, kw_only=True):
    """The body of every error response."""

    error: RequestErrorDetail


class Box(Schema, frozen=True, kw_only=True):
    """Pixels of the rotated image, from its top left corner."""

    x: float
    y: float
    width: float
    height: float


class Face(Schema, frozen=True, kw_only=True):
    """One face; ``box`` and ``score`` are null without a detector."""

    label: Annotated[str, Meta(description="The likeliest emotion, or unknown.")]
    confidence: Annotated[Probability, Meta(description="Of the likeliest emotion, in any case.")]
    probabilities: dict[str, Probability]
    energy: Annotated[float, Meta(description="Lower for faces like those of the training.")]
    distance: Annotated[
        float | None, Meta(description="From the training faces; needs a calibration.")
    ]
    known: bool | None
    box: Box | None
    score: Probability | None
    answered_by: Annotated[
        Literal["student", "full"] | None,
        Meta(description="Which model of a cascade this is from; null without a cascade."),
    ]


class ImageTiming(Schema, frozen=True, kw_only=True):
    """Where the time of an image went."""

    prepare_ms: Milliseconds
    classify_ms: Milliseconds


class Image(Schema, frozen=True, kw_only=True):
    """One image; of several, one that cannot be read has an error and no size and timing."""

    name: Annotated[str | None, Meta(description="The name of the file in the form.")]
    width: Count | None = None
    height: Count | None = None
    faces: Annotated[tuple[Face, ...], Meta(description="The largest first.")] = ()
    faces_left_out: Annotated[
        Count, Meta(description="Smaller faces, beyond the limit max_faces.")
    ] = 0
    timing: ImageTiming | None = None
    error: ErrorDetail | None = None


class RequestTiming(Schema, frozen=True, kw_only=True):
    """Where the time of a request went."""

    queue_ms: Milliseconds
    total_ms: Milliseconds


class PredictionBody(Schema, frozen=True, kw_only=True):
    """The faces in each image of a request."""

    images: Annotated[tuple[Image, ...], Meta(min_length=1)]
    timing: RequestTiming


class InputBody(Schema, frozen=True, kw_only=True):
    """What the model takes."""

    preprocessing: str
    height: Count
    width: Count
    dtype: str
    any_size: bool


class ParityBody(Schema, frozen=True, kw_only=True):
    """How close the artifact is to PyTorch, and what its build said of the runtime in use."""

    passed: bool
    images: Count
    runtime: Literal["verified", "failed", "unverified"]


class BatchingBody(Schema, frozen=True, kw_only=True):
    """How requests are batched."""

    max_size: Annotated[int, Meta(ge=1)]
    bit_exact: Annotated[
        bool, Meta(description="Whether answers are bit-identical to those of batch size 1.")
    ]


class EscalationBody(Schema, frozen=True, kw_only=True):
    """The full model of a cascade, and what was measured when its threshold was chosen."""

    model: Annotated[str, Meta(description="The name of the full model.")]
    precision: str
    runtime: str
    threshold: Annotated[
        Probability, Meta(description="Below this confidence the full model is asked.")
    ]
    max_changed: Annotated[
        Probability, Meta(description="At most this share of answers is not the full model's.")
    ]
    confidence_level: Annotated[Probability, Meta(description="Of that bound.")]
    student_share: Annotated[
        Probability, Meta(description="Of the calibration's faces that the student answered.")
    ]
    flop_share: Annotated[
        float, Meta(ge=0, description="Of the full model's FLOP, on the calibration's faces.")
    ]


class LimitsBody(Schema, frozen=True, kw_only=True):
    """What a request may hold."""

    max_body_bytes: Count
    max_pixels: Count
    max_images: Count
    max_faces: Count
    deadline_ms: Count


class ModelBody(Schema, frozen=True, kw_only=True):
    """The model that is served."""

    name: str
    labels: Annotated[
        tuple[str, ...], Meta(description="In the order of every face's probabilities.")
    ]
    precision: str
    runtime: str
    compute: str
    input: InputBody
    parity: ParityBody
    detector: Annotated[
        str | None, Meta(description="Its name, or custom; null if an image is one face.")
    ]
    unknown: Annotated[
        bool, Meta(description="Whether a face too far from the training is labelled unknown.")
    ]
    escalation: Annotated[EscalationBody | None, Meta(description="Null without a cascade.")]
    batching: BatchingBody
    limits: LimitsBody
    version: str
    purpose: Annotated[
        str | None, Meta(description="What its builder said that it is for; null if nothing.")
    ] = None


class StatusBody(Schema, frozen=True, kw_only=True):
    """Whether the service takes requests for predictions."""

    status: Literal["ok", "draining"]
