"""Pictures of a training: its curves, and what is taken for what."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from motivnet.errors import MissingDependencyError
from motivnet.files import write_atomic
from motivnet.metrics import ClassificationFigures
from motivnet.printable import drawn_text
from motivnet_training.history import History, best_of

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
    """Losses, accuracy and learning rates by epoch, with the best epoch marked, as a PNG file.

    Raises:
        FileError: If it cannot be written.
    """
    figure = Figure(figsize=(12, 3.6), layout="constrained")
    losses, accuracy, rates = figure.subplots(1, 3)
    epochs = [each.epoch for each in history]
    best = best_of(history)
    losses.plot(epochs, [each.train_loss for each in history], color=_TRAINING, label="training")
    losses.plot(epochs, [each.val_loss for each in history], color=_VALIDATION, label="validation")
    accuracy.plot(
        epochs, [each.accuracy * 100 for each in history], color=_VALIDATION, label="accuracy"
    )
    accuracy.plot(
        epochs,
        [each.macro_f1 * 100 for each in history],
        color=_VALIDATION,
        ls=":",
        label="macro F1",
    )
    _draw_rates(rates, epochs, history)
    for axes, title in (
        (losses, "cross-entropy"),
        (accuracy, "validation, %"),
        (rates, "learning rate"),
    ):
        _finish(axes, title, best_epoch=best.epoch)
    _write(path, figure)


def write_confusion(
    path: Path, figures: ClassificationFigures, labels: Sequence[str], *, title: str
) -> None:
    """Images by true (rows) and predicted class (columns), coloured by the share of the row, as a
    PNG file.

    Raises:
        FileError: If it cannot be written.
    """
    counts = np.asarray(figures.confusion)
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
    """The head's rate dashed above the encoder's, as they may be the same; logarithmic where they are far apart."""
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
    """Through a canvas of its own: the global state of pyplot stays untouched."""
    image = io.BytesIO()
    FigureCanvasAgg(figure).print_figure(image, format="png", dpi=_DOTS_PER_INCH)
    write_atomic(path, image.getvalue())
