"""Plots of a training: its curves, and the confusion matrix."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from motivnet.errors import MissingDependencyError
from motivnet.files import write_atomic
from motivnet.metrics import ClassificationMetrics
from motivnet.printable import drawn_text
from motivnet_training.history import History, best_epoch

try:
    from matplotlib.axes import Axes
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator
except ImportError as error:
    raise MissingDependencyError("matplotlib", extra="train") from error

_TRAINING, _VALIDATION, _BEST = "#7f7f7f", "#1f5fa8", "#c8452d"
_DOTS_PER_INCH = 110


def write_curves(path: Path, history: History) -> None:
    """Write losses, accuracy and learning rates by epoch, the best epoch marked, as a PNG file.

    Raises:
        FileError: If it cannot be written.
    """
    figure = Figure(figsize=(12, 3.6), layout="constrained")
    losses, accuracy, rates = figure.subplots(1, 3)
    epochs = [each.epoch for each in history]
    best = best_epoch(history)
    losses.plot(epochs, [each.train_loss for each in history], color=_TRAINING, label="training")
    losses.plot(epochs, [each.val_loss for each in history], color=_VALIDATION, label="validation")
    shares = [each.accuracy * 100 for each in history]
    accuracy.plot(epochs, shares, color=_VALIDATION, label="accuracy")
    shares = [each.macro_f1 * 100 for each in history]
    accuracy.plot(epochs, shares, color=_VALIDATION, ls=":", label="macro F1")
    _draw_rates(rates, epochs, history)
    titles = {losses: "cross-entropy", accuracy: "validation, %", rates: "learning rate"}
    for axes, title in titles.items():
        _finish(axes, title, best_epoch=best.epoch)
    _write(path, figure)


def write_confusion(
    path: Path, metrics: ClassificationMetrics, labels: Sequence[str], *, title: str
) -> None:
    """Write images by true (rows) and predicted class (columns), coloured by row, as a PNG file.

    Raises:
        FileError: If it cannot be written.
    """
    counts = np.asarray(metrics.confusion)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    side = 2.2 + 0.62 * len(labels)
    figure = Figure(figsize=(side, side), layout="constrained")
    axes = figure.subplots()
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    names = [drawn_text(label) for label in labels]
    axes.set_xticks(range(len(labels)), names, rotation=40, ha="right", rotation_mode="anchor")
    axes.set_yticks(range(len(labels)), names)
    for (row, column), count in np.ndenumerate(counts):
        colour = "white" if shares[row, column] > 0.6 else "black"
        axes.text(column, row, str(count), ha="center", va="center", color=colour, fontsize=9)
    axes.set_xlabel("predicted")
    axes.set_ylabel("true")
    axes.set_title(drawn_text(title), fontsize=10)
    _write(path, figure)


def _draw_rates(axes: Axes, epochs: Sequence[int], history: History) -> None:
    """Draw the head's rate dashed, as both may be equal; logarithmic if they are far apart."""
    heads, encoders = [each.decoder_lr for each in history], [each.encoder_lr for each in history]
    if any(encoders):
        axes.plot(epochs, encoders, color=_TRAINING, label="encoder")
    axes.plot(epochs, heads, color=_VALIDATION, ls="--", label="head")
    if min(encoders) > 0 and max(heads) > 10 * max(encoders):
        axes.set_yscale("log")


def _finish(axes: Axes, title: str, *, best_epoch: int) -> None:
    axes.axvline(best_epoch, color=_BEST, lw=1, ls="--", label=f"best (epoch {best_epoch})")
    axes.set_title(title, fontsize=10)
    axes.set_xlabel("epoch")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    axes.grid(visible=True, alpha=0.25)
    axes.legend(fontsize=8, frameon=False)


def _write(path: Path, figure: Figure) -> None:
    """Write through a canvas, which leaves pyplot's global state alone."""
    image = io.BytesIO()
    FigureCanvasAgg(figure).print_figure(image, format="png", dpi=_DOTS_PER_INCH)
    write_atomic(path, image.getvalue())
