"""Checkpoints that the paper's training program writes, with Lightning's Trainer and callbacks."""

from __future__ import annotations

import argparse
from pathlib import Path

import lightning
import pytest
import torch
from lightning.pytorch.callbacks import Callback, StochasticWeightAveraging, WeightAveraging
from torch import Tensor, nn

from motivnet.checkpoints import load_checkpoint
from motivnet.config import DecoderConfig, EncoderConfig, ModelConfig
from motivnet.model import build_model

CONFIG = ModelConfig(
    encoder=EncoderConfig(embed_dim=8, depth=1, num_heads=2, patch_size=4, image_size=(8, 4)),
    decoder=DecoderConfig(embed_dim=8, num_heads=2, depth=1, mlp_dim=8),
)
BIAS = "encoder.norm.bias"


class _Training(lightning.LightningModule):
    """A MotivNet with what is beside it in a training; each step moves one bias by 0.1."""

    def __init__(self, path: Path, options: argparse.Namespace) -> None:
        super().__init__()
        self.save_hyperparameters()
        self.model = build_model(CONFIG, seed=1)
        self.criterion = nn.CrossEntropyLoss(weight=torch.ones(7))

    def training_step(self, batch: Tensor) -> Tensor:
        return self.model.get_parameter(BIAS).sum()

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.1)


def train(path: Path, callbacks: list[Callback]) -> None:
    """Train three epochs of one step, and write a checkpoint."""
    trainer = lightning.Trainer(
        max_epochs=3,
        accelerator="cpu",
        default_root_dir=path.parent,
        logger=False,
        callbacks=[*callbacks, _Saver(path)],
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    training = _Training(Path("/data"), argparse.Namespace(lr=0.1))
    trainer.fit(training, torch.utils.data.DataLoader(torch.zeros(1, 1)))


class _Saver(Callback):
    """Writes a checkpoint in the last epoch, before averages take the place of weights."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def on_train_epoch_end(self, trainer: lightning.Trainer, _: lightning.LightningModule) -> None:
        if trainer.current_epoch == 2:
            trainer.save_checkpoint(self.path)


@pytest.mark.filterwarnings("ignore")  # Lightning's own
@pytest.mark.parametrize("name", ["plain", "WeightAveraging", "StochasticWeightAveraging"])
def test_a_checkpoint_of_lightning_loads_with_its_averages(
    name: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    callbacks: dict[str, list[Callback]] = {
        "plain": [],
        "WeightAveraging": [WeightAveraging()],
        "StochasticWeightAveraging": [
            StochasticWeightAveraging(swa_lrs=0.1, swa_epoch_start=1, annealing_epochs=1)
        ],
    }
    path = tmp_path / "epoch=2.ckpt"
    train(path, callbacks[name])
    stored = torch.load(path, weights_only=False)
    swa = stored["callbacks"].get("StochasticWeightAveraging", {}).get("average_model_state", {})
    found = {ema: None if ema and name == "plain" else _bias(path, ema) for ema in (False, True)}
    plain = stored["state_dict"][f"model.{BIAS}"]
    assert torch.equal(found[False], plain)
    assert "left out: criterion.weight" in caplog.text
    if name != "plain":
        assert torch.equal(found[True], swa[f"model.{BIAS}"] if swa else plain)
        assert "EMA weights in " in caplog.text
    if swa:
        assert not torch.equal(found[True], plain)


def _bias(path: Path, ema: bool) -> Tensor:
    return load_checkpoint(path, CONFIG, ema=ema).model.state_dict()[BIAS]
