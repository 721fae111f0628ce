import numpy as np
import pytest
import torch

from motivnet.config import ModelConfig
from motivnet.datasets.sample import Sample
from motivnet.labels import EMOTIONS
from motivnet.metrics import ClassificationFigures
from motivnet.preprocess import InputRecipe
from motivnet_training.drawn_faces import drawn_samples
from motivnet_training.evaluation import evaluate
from motivnet_training.initialisation import fresh_model

SMALL = ModelConfig.named("tiny", image_size=(32, 32))
RECIPE = InputRecipe.named("stretch", size=(32, 32))
LABELS = EMOTIONS[:7]


def voted(samples: tuple[Sample, ...]) -> tuple[Sample, ...]:
    """The same images, each with four votes in ten for the next label."""
    shares = 0.6 * np.eye(7) + 0.4 * np.roll(np.eye(7), 1, axis=1)
    return tuple(
        Sample(name=s.name, image=s.image, label=s.label, distribution=tuple(shares[s.label]))
        for s in samples
    )


def figures(samples: tuple[Sample, ...], device: str | None = "cpu") -> ClassificationFigures:
    model = fresh_model(SMALL, seed=0)
    return evaluate(model, samples, preprocess=RECIPE, labels=LABELS, batch_size=4, device=device)


def logarithms(samples: tuple[Sample, ...]) -> np.ndarray:
    with torch.no_grad():
        images = torch.from_numpy(np.stack([RECIPE(sample.pixels()) for sample in samples]))
        return fresh_model(SMALL, seed=0).eval()(images).log_softmax(dim=1).numpy()


def test_the_loss_is_that_of_the_votes_and_the_rest_that_of_the_labels() -> None:
    faces = drawn_samples(10, seed=0, size=(32, 32), labels=LABELS)
    soft, hard = figures(voted(faces)), figures(faces)
    shares = np.array([sample.distribution for sample in voted(faces)])
    assert soft.loss == pytest.approx(-(shares * logarithms(faces)).sum(axis=1).mean(), rel=1e-5)
    labels = [sample.label for sample in faces]
    assert hard.loss == pytest.approx(-logarithms(faces)[range(10), labels].mean(), rel=1e-5)
    assert soft.loss != pytest.approx(hard.loss, rel=1e-3)
    assert (soft.accuracy, soft.confusion) == (hard.accuracy, hard.confusion)


def test_a_cpu_that_was_asked_for_is_used_beside_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    faces = drawn_samples(7, seed=0, size=(32, 32), labels=LABELS)
    expected = figures(faces)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert figures(faces, device="cpu") == expected
