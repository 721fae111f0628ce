"""The preprocessing of a Triton repository: from encoded images to a model's input.

Triton's Python backend runs a copy of this file. Its Python needs ``pip install motivnet``, which
does not install torch, and provides a module that exists nowhere else.
"""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import triton_python_backend_utils as pb_utils
from numpy.typing import NDArray

from motivnet.artifact.manifest import InputEntry
from motivnet.errors import MotivNetError
from motivnet.images import STRICT_LIMITS, decode_image
from motivnet.schema import decode
from motivnet_engines.runtimes.signature import batch_from_images
from motivnet_engines.serving.triton.configuration import IMAGES, INPUT_PARAMETER


class TritonPythonModel:
    """The class that Triton looks for; each preprocessing process has one object of it."""

    def initialize(self, args: dict[str, str]) -> None:
        """Read the model's input from the model's configuration."""
        parameters = json.loads(args["model_config"])["parameters"]
        entry = parameters[INPUT_PARAMETER]["string_value"]
        self._entry = decode(entry.encode(), InputEntry)

    def execute(self, requests: list[Any]) -> list[Any]:
        """Return one response per request; an unreadable image fails only its own request."""
        return [self._response(request) for request in requests]

    def _response(self, request: Any) -> Any:
        files = pb_utils.get_input_tensor_by_name(request, IMAGES).as_numpy().reshape(-1)
        try:
            batch = self._batch([bytes(file) for file in files])
        except MotivNetError as error:
            return pb_utils.InferenceResponse(
                error=pb_utils.TritonError(str(error), pb_utils.TritonError.INVALID_ARG)
            )
        return pb_utils.InferenceResponse(output_tensors=[pb_utils.Tensor(self._entry.name, batch)])

    def _batch(self, files: list[bytes]) -> NDArray[np.float32] | NDArray[np.uint8]:
        images = [
            decode_image(file, name=f"{IMAGES}[{index}]", limits=STRICT_LIMITS)
            for index, file in enumerate(files)
        ]
        return batch_from_images(self._entry, images)
