from __future__ import annotations

from pathlib import Path

import pytest

from motivnet.checkpoints import load_model
from motivnet.config import ModelConfig
from motivnet.model.runtime import TorchRuntime
from motivnet.preprocess import Preprocessing
from motivnet_bench.viability.performance import BatchedModel
from motivnet_export.source import ModelSource, model_source


@pytest.fixture(scope="session")
def source(tiny_checkpoint: Path) -> ModelSource:
    return model_source(tiny_checkpoint, model=None, preprocess=None)


@pytest.fixture(scope="session")
def model(tiny_checkpoint: Path, tiny_config: ModelConfig) -> BatchedModel:
    return BatchedModel(
        runtime=TorchRuntime(load_model(tiny_checkpoint), config=tiny_config),
        preprocessing=Preprocessing.named("stretch", size=(128, 96)),
        batch_size=4,
    )
