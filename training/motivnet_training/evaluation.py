"""How right a model is on images that it was not trained on."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from motivnet.datasets.sample import Sample
from motivnet.datasets.sample_metrics import figures_of
from motivnet.metrics import ClassificationFigures
from motivnet.model import MotivNet
from motivnet.prediction import softmax
from motivnet.preprocess import InputRecipe
from motivnet.progress import progress
from motivnet_training.batch_sampler import AS_IT_IS
from motivnet_training.inputs import ImageInputs, SamplePictures


def evaluate(
    model: MotivNet,
    samples: Sequence[Sample],
    *,
    preprocess: InputRecipe,
    labels: tuple[str, ...],
    batch_size: int,
    device: str | None = None,
) -> ClassificationFigures:
    """The figures of a model on labelled images; where people voted, the loss is that of their
    votes.

    Args:
        device: As PyTorch names it; None is a GPU where there is one.
    """
    place = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    logits = _logits(model, samples, preprocess, batch_size=batch_size, device=place)
    return figures_of(samples, softmax(logits), labels)


def _logits(
    model: MotivNet,
    samples: Sequence[Sample],
    preprocess: InputRecipe,
    *,
    batch_size: int,
    device: torch.device,
) -> NDArray[np.float32]:
    inputs = ImageInputs(
        pictures=SamplePictures(samples=tuple(samples), recipe=preprocess), recipe=preprocess
    )
    model = model.eval().to(device)
    parts = []
    with torch.inference_mode(), progress("testing", total=len(samples)) as advance:
        for start in range(0, len(samples), batch_size):
            keys = [
                (AS_IT_IS, index) for index in range(start, min(start + batch_size, len(samples)))
            ]
            parts.append(model(inputs.batch(keys).to(device)).float().cpu().numpy())
            advance(len(keys))
    return np.concatenate(parts)
