"""What the plots of every report share: colours, axes, and SVG with no outside reference."""

from __future__ import annotations

import contextlib
import io

from motivnet.errors import MissingDependencyError

try:
    import matplotlib as mpl
    from matplotlib.axes import Axes
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure
except ImportError as error:
    raise MissingDependencyError("matplotlib", extra="bench") from error

WIDTH = 7.0
ACCENT, RUNTIME, BASELINE, INK, GRID = "#0f766e", "#5eaaa2", "#b6bfc9", "#1f2933", "#e4e7eb"


def drawing_style() -> contextlib.AbstractContextManager[None]:
    """The settings under which a plot is drawn and written."""
    return mpl.rc_context(
        {
            "svg.hashsalt": "motivnet-bench",  # the same result gives the same file
            "font.family": "DejaVu Sans",
            "font.size": 9,
            "text.color": INK,
            "axes.labelcolor": INK,
            "xtick.color": INK,
            "ytick.color": INK,
        }
    )


def new_axes(*, height: float) -> tuple[Figure, Axes]:
    """A figure as wide as the report's, ``height`` inches high, and its axes without a frame."""
    figure = Figure(figsize=(WIDTH, height), layout="constrained")
    axes = figure.add_subplot()
    axes.set_axisbelow(True)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    return figure, axes


def svg_from_figure(figure: Figure) -> bytes:
    """The figure as SVG; equal figures give equal bytes."""
    buffer = io.BytesIO()
    FigureCanvasSVG(figure).print_svg(buffer, metadata={"Date": None, "Creator": None})  # type: ignore[no-untyped-call]
    return buffer.getvalue()
