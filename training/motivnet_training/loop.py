"""The training loop: a plain loop on Lightning Fabric that saves its state as it runs."""

from __future__ import annotations

import contextlib
import signal
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from motivnet.errors import CheckpointError, TrainingStoppedError
from motivnet.files import write_atomic
from motivnet.terminal import Advance, progress
from motivnet_training.batch_sampler import BatchSampler
from motivnet_training.checkpointing import read_state, write_state
from motivnet_training.data import Batch, iterate_batches
from motivnet_training.devices import (
    device_errors,
    gather_rows,
    open_fabric,
    quiet_fabric,
    sum_over_processes,
)
from motivnet_training.history import (
    VALIDATION_METRICS,
    EpochMetrics,
    csv_from_history,
    is_better,
    is_over,
    validation_metrics,
)
from motivnet_training.model import (
    class_weights,
    learning_rates,
    optimizer_from_recipe,
    prepare_model,
)
from motivnet_training.non_finite import check_gradients, check_loss, check_tensors
from motivnet_training.session import Session, write_checkpoint
from motivnet_training.signals import StopRequest
from motivnet_training.training_state import (
    TrainedParts,
    TrainingProgress,
    capture_rng,
    check_state,
)

if TYPE_CHECKING:
    from lightning_fabric import Fabric

    from motivnet_training.event_log import EventLog


def train(session: Session, *, resume: Path | None = None) -> TrainingProgress:
    """Train the session's model in place, and return where the training ended.

    Args:
        resume: A state of this training to resume from.

    Raises:
        CheckpointError: If the state cannot be resumed from.
        ConfigError: If the devices are not available.
        TrainingError: If a number stops being finite, or another process of the training ends.
        TrainingStoppedError: If a signal asked for it.
    """
    recipe, devices = session.recipe, session.devices
    with quiet_fabric():
        fabric = open_fabric(devices, recipe.precision)
    prepare_model(session.model, recipe)
    optimizer = optimizer_from_recipe(session.model, recipe)
    state, reached = None, TrainingProgress()
    if resume is not None:
        state = _read_state(resume)
        batches = session.batches_per_epoch
        reached = check_state(
            state, model=session.model, optimizer=optimizer, recipe=recipe, batches=batches
        )
        session.on_message(f"resumes after epoch {reached.epoch}, step {reached.steps}")
    cuda = list(range(torch.cuda.device_count()))
    request = StopRequest()
    with (
        quiet_fabric(),
        device_errors(devices),
        torch.random.fork_rng(cuda),
        progress("training", total=session.total_steps) as advance,
    ):
        # Until all processes have met, a signal ends this one at once: there is nothing to save,
        # and another process may never come.
        fabric.launch()
        with request.listening(), contextlib.ExitStack() as stack:
            torch.manual_seed(session.seed)
            log = None
            if session.folder is not None and fabric.is_global_zero:
                from motivnet_training.event_log import EventLog

                log = EventLog(session.folder.tensorboard, steps=reached.steps)
                stack.callback(log.close)
            trainer = Trainer(session, fabric, optimizer, request, log=log, advance=advance)
            if state is not None:
                trainer.restore(state, reached)
                del state
            trainer.run()
    session.model.cpu().eval()
    return trainer.progress


class Trainer:
    """Runs the epochs of a session on a launched Fabric.

    ``progress`` and ``rng`` are those of the last optimizer step, which is what a saved state
    stands for.
    """

    def __init__(
        self,
        session: Session,
        fabric: Fabric,
        optimizer: torch.optim.Optimizer,
        request: StopRequest,
        *,
        log: EventLog | None,
        advance: Advance,
    ) -> None:
        self.session = session
        self.recipe = session.recipe
        self.fabric = fabric
        self.request = request
        self.log = log
        self.advance = advance
        part = session.model.decoder if self.recipe.cached else session.model
        self.network, self.optimizer = fabric.setup(part, optimizer)
        self.parts = TrainedParts(
            model=session.model, network=self.network, optimizer=optimizer, fabric=fabric
        )
        self.class_weights: Tensor | None = None
        if self.recipe.class_weights:
            self.class_weights = fabric.to_device(class_weights(session.training.targets))
        self.progress = TrainingProgress()
        self.rng = capture_rng()
        self.saved_at = time.monotonic()

    def restore(self, state: Mapping[str, object], reached: TrainingProgress) -> None:
        """Continue from a state that was checked."""
        self.parts.restore(state)
        self.progress, self.rng = reached, capture_rng()
        self.advance(reached.steps)

    def run(self) -> None:
        """Train to the end: the last epoch of the recipe, or early stopping."""
        while not is_over(self.progress.history, self.recipe):
            self.train_epoch()
            self.end_epoch(self.validate())
        weights = self.parts.gather_weights()
        if self.session.folder is not None and self.fabric.is_global_zero:
            last = self.progress.history[-1]
            write_checkpoint(self.session, self.session.folder.last, weights, last)

    def train_epoch(self) -> None:
        """Train on what is left of the epoch, and stop if asked to: all processes agree on it."""
        session, recipe = self.session, self.recipe
        sampler = BatchSampler(
            count=len(session.training),
            batch_size=recipe.batch_size,
            epoch=self.progress.epoch,
            seed=session.seed,
            start=self.progress.batch,
            rank=self.fabric.global_rank,
            processes=self.fabric.world_size,
        )
        losses: list[float] = []
        images: list[str] = []
        batches = iterate_batches(
            session.training, sampler, workers=session.devices.workers_per_process
        )
        for number, batch in enumerate(batches, start=self.progress.batch + 1):
            is_step = number % recipe.accumulate == 0 or number == session.batches_per_epoch
            images += [session.training.names[index] for index in batch.indices.tolist()]
            with self.fabric.no_backward_sync(self.network, enabled=not is_step):
                loss = self.compute_loss(batch)
                self.fabric.backward(loss / recipe.accumulate)
            losses.append(float(loss.detach()))
            if is_step:
                self.step(losses, images, batch=number)
                losses, images = [], []
            is_due = is_step and time.monotonic() - self.saved_at >= session.checkpoint_seconds
            is_asked, is_due = self._agree(is_due=is_due)
            if is_asked:
                self.stop()
            if is_due:
                self.save()

    def compute_loss(self, batch: Batch) -> Tensor:
        """Return the mean loss of a batch.

        Raises:
            TrainingError: If it is not finite.
        """
        batch = self.fabric.to_device(batch)
        outputs = self.network(batch.inputs)
        if self.session.loss is not None:
            losses = self.session.loss(outputs, batch)
        else:
            losses = functional.cross_entropy(
                outputs.float(),
                batch.targets,
                weight=self.class_weights,
                label_smoothing=self.recipe.label_smoothing,
                reduction="none",
            )
        loss = losses.mean()
        images = [self.session.training.names[index] for index in batch.indices.tolist()]
        check_loss(losses.detach(), float(loss.detach()), epoch=self.progress.epoch, images=images)
        return loss

    def step(self, losses: Sequence[float], images: Sequence[str], *, batch: int) -> None:
        """Make a step of the optimizer from the gradients of these images.

        Raises:
            TrainingError: If a gradient, weight or moment is NaN or infinite.
        """
        epoch, recipe = self.progress.epoch, self.recipe
        weights = [each for group in self.optimizer.param_groups for each in group["params"]]
        gradients = [each.grad for each in weights if each.grad is not None]
        scaler = getattr(self.fabric.strategy.precision, "scaler", None)
        scale = 1.0 if scaler is None else float(scaler.get_scale())
        check_gradients(gradients, scale=scale, epoch=epoch, images=images)
        if recipe.gradient_norm is not None:
            self.fabric.clip_gradients(
                self.network,
                self.optimizer,
                max_norm=recipe.gradient_norm,
                error_if_nonfinite=False,
            )
        rates = self._rates(step=self.progress.steps)
        for group in self.optimizer.param_groups:
            group["lr"] = rates[group["name"]]
        self.optimizer.step()
        self.optimizer.zero_grad()
        check_tensors(weights, "a weight", epoch=epoch, images=images)
        moments = [each for state in self.optimizer.state.values() for each in state.values()]
        check_tensors(moments, "the optimizer's state", epoch=epoch, images=images)
        total, count = sum_over_processes(self.fabric, sum(losses), len(losses))
        self.progress = msgspec.structs.replace(
            self.progress,
            batch=batch,
            steps=self.progress.steps + 1,
            loss_sum=self.progress.loss_sum + total,
            loss_count=self.progress.loss_count + round(count),
        )
        self.rng = capture_rng()
        self.advance(1)
        if self.log is not None:
            loss = self.progress.loss_sum / self.progress.loss_count
            self.log.write_step(self.progress.steps, loss=loss, rates=rates)

    def validate(self) -> NDArray[np.float64]:
        """Return the logits ``(N, classes)`` of all validation images, in their order."""
        session = self.session
        sampler = BatchSampler(
            count=len(session.validation),
            batch_size=self.recipe.batch_size,
            rank=self.fabric.global_rank,
            processes=self.fabric.world_size,
        )
        workers = session.devices.workers_per_process
        found: list[tuple[Tensor, Tensor]] = []
        self.network.eval()
        with torch.inference_mode():
            for batch in iterate_batches(session.validation, sampler, workers=workers):
                found.append((batch.indices, self.predict(batch)))
                if self._agree(is_due=False)[0]:
                    self.stop()
        self.network.train()
        indices, logits = (torch.cat(parts) for parts in zip(*found, strict=True))
        if self.fabric.world_size > 1:
            # Gathering needs equal shapes: each process fills up with its own rows.
            rows = torch.arange(len(sampler) * self.recipe.batch_size) % len(indices)
            indices = gather_rows(self.fabric, indices[rows])
            logits = gather_rows(self.fabric, logits[self.fabric.to_device(rows)])
        result = np.full((len(session.validation), logits.shape[1]), np.nan)
        result[indices.cpu().numpy()] = logits.double().cpu().numpy()
        return result

    def predict(self, batch: Batch) -> Tensor:
        """Return the logits ``(B, classes)`` of a batch."""
        logits: Tensor = self.network(self.fabric.to_device(batch.inputs)).float()
        return logits

    def end_epoch(self, logits: NDArray[np.float64]) -> None:
        """Keep the epoch's metrics, and its weights if they are the best so far.

        The state is written last: what is resumed from must not know of an epoch whose weights are
        not there.
        """
        session, reached = self.session, self.progress
        metrics = validation_metrics(session.validation, logits, session.labels)
        rates = self._rates(step=reached.steps - 1)
        epoch = EpochMetrics(
            epoch=reached.epoch + 1,
            steps=reached.steps,
            encoder_lr=rates["encoder"],
            decoder_lr=rates["decoder"],
            train_loss=reached.loss_sum / reached.loss_count,
            val_loss=metrics.loss,
            **{name: getattr(metrics, name) for name in VALIDATION_METRICS},
        )
        best = reached.best
        if is_better(epoch, reached.history):
            best = metrics
            weights = self.parts.gather_weights()
            if session.folder is not None and self.fabric.is_global_zero:
                write_checkpoint(session, session.folder.best, weights, epoch)
        self.progress = TrainingProgress(
            epoch=reached.epoch + 1,
            steps=reached.steps,
            history=(*reached.history, epoch),
            best=best,
        )
        if self.log is not None:
            self.log.write_epoch(epoch)
        if session.folder is not None and self.fabric.is_global_zero:
            table = csv_from_history(self.progress.history)
            write_atomic(session.folder.metrics, table.encode())
        self.save()
        if self.fabric.is_global_zero:
            session.on_message(
                f"epoch {epoch.epoch}/{self.recipe.epochs}: training loss {epoch.train_loss:.4f}, "
                f"validation loss {epoch.val_loss:.4f}, {session.validated_on} {epoch.accuracy:.1%}"
            )

    def save(self) -> None:
        """Save the state of the last step, if there is a folder; all processes call it."""
        if self.session.folder is not None:
            state = self.parts.gather_state(self.progress, self.rng)
            if self.fabric.is_global_zero:
                write_state(state, self.session.folder.resume)
            self.fabric.barrier()
        self.saved_at = time.monotonic()

    def stop(self) -> None:
        """Save and end the training.

        Raises:
            TrainingStoppedError: Always.
        """
        self.request.answer()
        self.save()
        folder = self.session.folder
        kept = "nothing was written"
        if folder is not None:
            kept = f"saved {folder.resume}; continue with --resume"
        place = f"epoch {self.progress.epoch + 1}, step {self.progress.steps}"
        raise TrainingStoppedError(
            f"the training was asked to stop in {place}: {kept}",
            signal=self.request.number or signal.SIGTERM,
        )

    def _rates(self, *, step: int) -> dict[str, float]:
        epoch, total = self.progress.epoch, self.session.total_steps
        return learning_rates(self.recipe, epoch=epoch, step=step, total_steps=total)

    def _agree(self, *, is_due: bool) -> tuple[bool, bool]:
        """Whether any process was asked to stop, and whether the first one is due to save."""
        is_asked = self.request.number is not None
        is_due = is_due and self.fabric.is_global_zero
        asked, due = sum_over_processes(self.fabric, is_asked, is_due)
        return asked > 0, due > 0


def _read_state(path: Path) -> dict[str, object]:
    try:
        return read_state(path)
    except CheckpointError as error:
        raise CheckpointError(
            f"{error}; the weights beside it are not touched; without {path.name} the training "
            "starts from the beginning"
        ) from error
