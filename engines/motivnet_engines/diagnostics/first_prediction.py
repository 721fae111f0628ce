"""A process that opens an artifact, predicts once and tells what it took: ``python -m`` with a folder and a runtime."""

from __future__ import annotations

import json
import sys
import time

import numpy as np

from motivnet.errors import MotivNetError
from motivnet_engines.inference.classifier import EmotionClassifier
from motivnet_engines.system.machine import memory_from_meminfo, process_status


def main() -> None:
    """Writes as JSON when the artifact was open and the first prediction made (``time.monotonic``),
    and the memory.

    The prediction is of a grey array of the network's size: nothing is decoded, and no face is
    looked for.
    """
    folder, runtime = sys.argv[1:]
    try:
        with EmotionClassifier.open(folder, runtime=runtime) as classifier:
            height, width = classifier.manifest.input.recipe.size
            opened = time.monotonic()
            classifier.predict(np.full((height, width, 3), 127, np.uint8))
            predicted, status = time.monotonic(), process_status()
    except MotivNetError as error:
        sys.exit(str(error))
    memory = {name: memory_from_meminfo(status, name) for name in ("VmRSS", "VmHWM")}
    sys.stdout.write(json.dumps({"opened": opened, "predicted": predicted, **memory}))


if __name__ == "__main__":
    main()
