"""A child process that opens an artifact and predicts once; it imports only what a device needs."""

from __future__ import annotations

import sys
import time

import numpy as np

from motivnet.child_process import connect_to_parent
from motivnet.errors import MotivNetError
from motivnet.schema import Schema
from motivnet_engines.inference.classifier import EmotionClassifier
from motivnet_engines.system.machine import process_memory


class FirstPrediction(Schema, frozen=True, kw_only=True):
    """When the artifact was open and the first prediction made (``time.monotonic``), and memory.

    ``resident`` and ``peak`` are bytes; ``resident`` is None where the system does not tell it.
    """

    opened: float
    predicted: float
    resident: int | None
    peak: int


def main() -> None:
    """Predict a grey array of the network's size: no file is decoded and no face is searched."""
    parent = connect_to_parent()
    folder, runtime = sys.argv[1:]
    try:
        with EmotionClassifier.open(folder, runtime=runtime) as classifier:
            height, width = classifier.manifest.input.preprocessing.size
            opened = time.monotonic()
            classifier.predict(np.full((height, width, 3), 127, np.uint8))
            predicted, (resident, peak) = time.monotonic(), process_memory()
    except MotivNetError as error:
        sys.exit(str(error))
    parent.send(
        FirstPrediction(
            opened=opened,
            predicted=predicted,
            resident=resident,
            peak=peak,
        )
    )


if __name__ == "__main__":
    main()
