"""Cards and a matrix in; a page, pictures and tables out. Pure: reads no room, no engine, no clock and no network."""

from flyroom.report.headline import headline
from flyroom.report.page import page
from flyroom.report.plots import Calibrated, Transferred, figures, png, svg
from flyroom.report.text import markdown_cards, markdown_grid, markdown_matrix

__all__ = [
    "Calibrated",
    "Transferred",
    "figures",
    "headline",
    "markdown_cards",
    "markdown_grid",
    "markdown_matrix",
    "page",
    "png",
    "svg",
]
