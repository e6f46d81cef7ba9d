"""Cards and a matrix in; a page, pictures, tables and JSON out. Knows no world, no behaviour and no measure by name.

Reads no room, no engine, no clock and no network, and touches no file.
"""

from flyroom.report.explained import brief, explained_page
from flyroom.report.headline import headline
from flyroom.report.page import page
from flyroom.report.plots import Calibrated, Transferred, figures, png, svg
from flyroom.report.text import markdown_cards, markdown_grid, markdown_matrix
from flyroom.report.views import (
    again,
    bare,
    caveats,
    context,
    detector_figures,
    estimate,
    figures_of,
    flat,
)

__all__ = [
    "Calibrated",
    "Transferred",
    "again",
    "bare",
    "brief",
    "caveats",
    "context",
    "detector_figures",
    "estimate",
    "explained_page",
    "figures",
    "figures_of",
    "flat",
    "headline",
    "markdown_cards",
    "markdown_grid",
    "markdown_matrix",
    "page",
    "png",
    "svg",
]
