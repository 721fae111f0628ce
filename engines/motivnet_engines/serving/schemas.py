"""The JSON Schemas of what the service answers, with examples."""

from __future__ import annotations

import struct
from typing import Any, get_args

from motivnet_engines.serving.refusals import Code

JSON = dict[str, Any]

_EMOTIONS = {
    "neutral": 0.01,
    "happiness": 0.93,
    "surprise": 0.03,
    "sadness": 0.01,
    "anger": 0.01,
    "disgust": 0.01,
}


def _object(properties: JSON) -> JSON:
    """An object that has all these properties and no others."""
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


def _array(items: JSON) -> JSON:
    return {"type": "array", "items": items}


def _or_null(schema: JSON) -> JSON:
    return {"oneOf": [schema, {"type": "null"}]}


def reference(name: str) -> JSON:
    """To one of ``SCHEMAS``."""
    return {"$ref": f"#/components/schemas/{name}"}


_TEXT: JSON = {"type": "string"}
_NUMBER: JSON = {"type": "number"}
_FLAG: JSON = {"type": "boolean"}
_COUNT: JSON = {"type": "integer", "minimum": 0}
_CODE: JSON = {**_TEXT, "enum": list(get_args(Code))}
_MILLISECONDS: JSON = {"type": "number", "minimum": 0}
_PROBABILITY: JSON = {"type": "number", "minimum": 0, "maximum": 1}

PICTURE_EXAMPLE = (
    struct.pack("<2sIHHIIiiHHIIiiII", b"BM", 70, 0, 0, 54, 40, 2, 2, 1, 24, 0, 16, 0, 0, 0, 0)
    + b"@" * 16
).decode("ascii")
"""A grey BMP of two by two pixels, no byte of which is beyond ASCII."""
BOX_EXAMPLE: JSON = {"x": 128.0, "y": 96.5, "width": 210.0, "height": 260.0}
FACE_EXAMPLE: JSON = {
    "label": "happiness",
    "confidence": 0.93,
    "probabilities": _EMOTIONS,
    "energy": -4.1,
    "distance": 11.8,
    "known": True,
    "box": BOX_EXAMPLE,
    "score": 0.91,
}
IMAGE_EXAMPLE: JSON = {
    "name": "face.jpg",
    "width": 512,
    "height": 512,
    "faces": [FACE_EXAMPLE],
    "faces_left_out": 0,
    "timing": {"prepare_ms": 7.9, "classify_ms": 31.5},
    "error": None,
}
PREDICTION_EXAMPLE: JSON = {
    "images": [IMAGE_EXAMPLE],
    "timing": {"queue_ms": 0.4, "total_ms": 41.2},
}
MODEL_EXAMPLE: JSON = {
    "name": "expressions",
    "labels": list(_EMOTIONS),
    "precision": "fp16",
    "runtime": "openvino",
    "compute": "float32",
    "input": {
        "recipe": "stretch",
        "height": 1024,
        "width": 768,
        "dtype": "uint8",
        "any_size": False,
    },
    "parity": {"passed": True, "images": 32, "runtime": "verified"},
    "detector": "yunet",
    "unknown": False,
    "batching": {"max_size": 8, "bit_exact": True},
    "limits": {
        "max_body_bytes": 20_000_000,
        "max_pixels": 40_000_000,
        "max_images": 8,
        "max_faces": 16,
        "deadline_ms": 10_000,
    },
    "version": "0.1.0",
}

SCHEMAS: JSON = {
    "Box": {
        **_object({"x": _NUMBER, "y": _NUMBER, "width": _NUMBER, "height": _NUMBER}),
        "description": "Pixels of the upright image, from its top left corner.",
    },
    "Face": _object(
        {
            "label": {**_TEXT, "description": "The likeliest emotion, or unknown."},
            "confidence": {**_PROBABILITY, "description": "Of the likeliest emotion, in any case."},
            "probabilities": {"type": "object", "additionalProperties": _PROBABILITY},
            "energy": {**_NUMBER, "description": "Lower for faces like those of the training."},
            "distance": _or_null(
                {**_NUMBER, "description": "From the training faces; needs a calibration."}
            ),
            "known": _or_null(_FLAG),
            "box": _or_null(reference("Box")),
            "score": _or_null(_PROBABILITY),
        }
    ),
    "Image": {
        **_object(
            {
                "name": _or_null({**_TEXT, "description": "The file's name in the form."}),
                "width": _or_null(_COUNT),
                "height": _or_null(_COUNT),
                "faces": {**_array(reference("Face")), "description": "The largest first."},
                "faces_left_out": {
                    **_COUNT,
                    "description": "Smaller faces, beyond the limit max_faces.",
                },
                "timing": _or_null(
                    _object({"prepare_ms": _MILLISECONDS, "classify_ms": _MILLISECONDS})
                ),
                "error": _or_null(reference("ErrorDetail")),
            }
        ),
        "description": "An image of several that cannot be read has an error, and null for its size and timing.",
    },
    "Prediction": {
        **_object(
            {
                "images": {**_array(reference("Image")), "minItems": 1},
                "timing": _object({"queue_ms": _MILLISECONDS, "total_ms": _MILLISECONDS}),
            }
        ),
        "example": PREDICTION_EXAMPLE,
    },
    "Model": {
        **_object(
            {
                "name": _TEXT,
                "labels": {
                    **_array(_TEXT),
                    "description": "In the order of every face's probabilities.",
                },
                "precision": _TEXT,
                "runtime": _TEXT,
                "compute": _TEXT,
                "input": _object(
                    {
                        "recipe": _TEXT,
                        "height": _COUNT,
                        "width": _COUNT,
                        "dtype": _TEXT,
                        "any_size": _FLAG,
                    }
                ),
                "parity": _object(
                    {
                        "passed": _FLAG,
                        "images": _COUNT,
                        "runtime": {**_TEXT, "enum": ["verified", "failed", "unverified"]},
                    }
                ),
                "detector": _or_null(
                    {
                        **_TEXT,
                        "description": "Its name, or custom; null where an image is one face.",
                    }
                ),
                "unknown": {
                    **_FLAG,
                    "description": "Whether a face that is too far from the training is so labelled.",
                },
                "batching": {
                    **_object({"max_size": {**_COUNT, "minimum": 1}, "bit_exact": _FLAG}),
                    "description": "Whether every answer has the bits that it would have in a batch of one.",
                },
                "limits": _object(dict.fromkeys(MODEL_EXAMPLE["limits"], _COUNT)),
                "version": _TEXT,
            }
        ),
        "example": MODEL_EXAMPLE,
    },
    "Status": {
        **_object({"status": {**_TEXT, "enum": ["ok", "draining"]}}),
        "example": {"status": "ok"},
    },
    "ErrorDetail": _object({"code": _CODE, "message": _TEXT}),
    "Error": {
        **_object(
            {
                "error": _object(
                    {
                        "code": _CODE,
                        "message": {**_TEXT, "description": "One line, for people."},
                        "request": {
                            **_TEXT,
                            "description": "The request's id, as in X-Request-Id and in the log.",
                        },
                    }
                )
            }
        ),
        "example": {
            "error": {
                "code": "bad_image",
                "message": "the image is not a JPEG, PNG, WebP or BMP image; convert it to one of these",
                "request": "5f0c9ad1a94d4a1d8ae0f3b6c7de2f19",
            }
        },
    },
}
