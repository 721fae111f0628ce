"""The preprocessing of a Triton repository: encoded images in, a model's input out, by MotivNet's
own decoder.

Triton's Python backend runs a copy of this file. Its Python needs ``pip install motivnet``, which
brings no torch, and has a module of Triton's own that exists nowhere else.
"""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import triton_python_backend_utils as pb_utils
from numpy.typing import NDArray

from motivnet import strict_json
from motivnet.artifact.manifest import InputEntry
from motivnet.errors import MotivNetError
from motivnet.images import decode_image
from motivnet_engines.runtimes.inputs import batch_from_images
from motivnet_engines.serving.triton.configuration import IMAGES, INPUT_PARAMETER


class TritonPythonModel:
    """What Triton makes one of in each of the preprocessing's processes."""

    def initialize(self, args: dict[str, str]) -> None:
        """Reads what the model's input is from the model's configuration."""
        parameters = json.loads(args["model_config"])["parameters"]
        self._entry = strict_json.build(
            InputEntry, strict_json.loads(parameters[INPUT_PARAMETER]["string_value"].encode())
        )

    def execute(self, requests: list[Any]) -> list[Any]:
        """One response a request, in order; a request with an image that cannot be read gets an error of its own."""
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
        images = [decode_image(file, name=f"{IMAGES}[{index}]") for index, file in enumerate(files)]
        return batch_from_images(self._entry, images)
