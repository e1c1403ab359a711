"""Matplotlib figures as PNG."""

from __future__ import annotations

import io

from matplotlib.figure import Figure


def png_from_figure(figure: Figure) -> bytes:
    """The file's content, at the figure's own resolution."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    return buffer.getvalue()
