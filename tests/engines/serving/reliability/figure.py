"""What a measurement comes to, and what it is held against."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from clients import Reply, unique_photo

from motivnet_engines.inference.classifier import EmotionClassifier
from motivnet_engines.runtimes.fake import FakeRuntime, fake_manifest


@dataclass
class Figure:
    """What was measured, and what is wrong with it."""

    values: dict[str, Any]
    failures: list[str] = field(default_factory=list)

    def require(self, holds: bool, failure: str) -> None:
        if not holds:
            self.failures.append(failure)


def percentile(values: list[float], share: float) -> float:
    return float(np.percentile(values, share)) if values else float("nan")


def expected_faces(numbers: list[int], *, artifact: str | None, runtime: str) -> dict[int, Any]:
    """What each photo gives in a batch of one, in this process."""
    if artifact is None:
        manifest = fake_manifest()
        classifier = EmotionClassifier(FakeRuntime(manifest), manifest, batch_size=1)
    else:
        classifier = EmotionClassifier.open(artifact, runtime=runtime, threads=1, batch_size=1)
    with classifier:
        return {number: classifier.predict(unique_photo(number))[0].to_dict() for number in numbers}


def faces(reply: Reply) -> Any:
    return reply.json["images"][0]["faces"]
