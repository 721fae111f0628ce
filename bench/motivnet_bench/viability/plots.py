"""The two plots of the criteria's report: how far weights moved, and where images lie."""

from __future__ import annotations

from motivnet.printable import drawn_text
from motivnet_bench.report.plot_style import (
    ACCENT,
    BASELINE,
    GRID,
    drawing_style,
    new_axes,
    svg_from_figure,
)
from motivnet_bench.viability.result import DataSimilarity, ModelSimilarity

HEIGHT = 3.4


def change_plot(model: ModelSimilarity) -> bytes:
    """SVG of every common weight's relative change, in the order of the network."""
    moved = [
        (place, change.relative) for place, change in enumerate(model.changes) if change.relative
    ]
    with drawing_style():
        figure, axes = new_axes(height=HEIGHT)
        axes.plot(
            [place for place, _ in moved],
            [value for _, value in moved],
            ".",
            color=ACCENT,
            markersize=5,
        )
        axes.set_xlim(-1, max(len(model.changes), 1))
        if moved:
            axes.set_yscale("log")
        axes.grid(axis="y", color=GRID, linewidth=0.8)
        axes.set_xlabel("common weight, from the first layer to the last")
        axes.set_ylabel("relative change")
        still = len(model.changes) - len(moved)
        axes.set_title(
            f"{still} of {len(model.changes)} weights did not move, or moved from zero", fontsize=9
        )
        return svg_from_figure(figure)


def image_plot(data: DataSimilarity) -> bytes:
    """SVG of both sets of images in the plane of their two largest principal components."""
    with drawing_style():
        figure, axes = new_axes(height=HEIGHT)
        for images, colour, marker in ((data.reference, BASELINE, "o"), (data.data, ACCENT, ".")):
            across, up = zip(*images.points, strict=True)
            name = drawn_text(images.folder)
            axes.plot(across, up, marker, color=colour, markersize=4, alpha=0.7, label=name)
        axes.grid(color=GRID, linewidth=0.8)
        axes.set_xlabel("first principal component of both")
        axes.set_ylabel("second")
        axes.legend(frameon=False)
        return svg_from_figure(figure)
