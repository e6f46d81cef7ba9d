"""Draw the pictures of docs/pictures.md from the JSON that is stored in docs/, so that they can be drawn again.

    python scripts/pictures.py    # writes docs/pictures/*.svg

Each file ends with a digest of what it shows, by which tests/test_site.py sees that a picture is older than its
figures. Most pictures are those of the report (`flyroom.report.plots`); `coverage` is drawn here. On the site
`site_links.py` puts each into its page, so that it follows the colours of the page.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, cast

import altair as alt
from pydantic import TypeAdapter

from flyroom.report import Transferred, plots
from flyroom.report.plots.style import COLOURS, WIDTH, finish
from flyroom.types import Card, Cell, Estimate

DOCS = Path(__file__).parents[1] / "docs"
Picture = Callable[[], Any]


def load(name: str) -> dict[str, Any]:
    return json.loads((DOCS / f"{name}.json").read_text(encoding="utf-8"))


def cards_of(name: str) -> list[Card]:
    return TypeAdapter(list[Card]).validate_python(load(name)["cards"])


def cells_of(*, hidden: bool) -> list[Cell]:
    """The matrix's cells of models, of plain recipes or of hidden ones."""
    cells = [cell for cell in load("matrix")["cells"] if cell["unit"] == "model"]
    return TypeAdapter(list[Cell]).validate_python([c for c in cells if c["recipe"].endswith("-hidden") is hidden])


def transfers() -> list[Transferred]:
    """The probe that was fitted on all families of the known models but one."""
    records = [r for r in load("transfer")["records"] if r["fit"] == "all but one" and r["detector"] == "known-probe"]
    estimate = TypeAdapter(Estimate | None)
    return [
        cast(Transferred, {**r, "left_out": r["family"], "auroc": estimate.validate_python(r["auroc"])})
        for r in records
    ]


def coverage() -> alt.LayerChart:
    """How often each interval contained the truth: a tick for each setting that was simulated, and the promise."""
    rows = [{"interval": row["function"], "covers": row["covers"]} for row in load("coverage")["rows"]]
    scale = alt.Scale(domain=[0.35, 1], nice=False)
    axis = alt.Axis(
        title="of 2,000 studies each: the interval held the truth", format=".0%", values=[0.4, 0.6, 0.8, 0.95]
    )
    ticks = alt.Chart(alt.Data(values=rows)).mark_tick(thickness=2, opacity=0.6, color=COLOURS["detector"], height=16)
    promise = alt.Chart(alt.Data(values=[{"covers": 0.95}])).mark_rule(color=COLOURS["organism"], strokeDash=[4, 4])
    x = alt.X("covers:Q", scale=scale, axis=axis)
    names = alt.Y("interval:N", axis=alt.Axis(title=None, ticks=False, labelLimit=150))
    return finish(alt.layer(promise.encode(x=x), ticks.encode(x=x, y=names)), width=WIDTH - 150, height=380)


PICTURES: Mapping[str, Picture] = {
    "spread": lambda: plots.spread(cards_of("tutorial")),
    "curve": lambda: plots.curve(cards_of("tutorial")),
    "measures": lambda: plots.measures(cards_of("real")),
    "matrix-plain": lambda: plots.heat(cells_of(hidden=False)),
    "matrix-hidden": lambda: plots.heat(cells_of(hidden=True)),
    "cost": lambda: plots.cost(cells_of(hidden=False)),
    "transfer": lambda: plots.transfer(transfers()),
    "coverage": coverage,
}


def digest(chart: Any) -> str:
    """What a chart shows, its figures and its look, in twelve digits."""
    return hashlib.sha256(json.dumps(chart.to_dict(), sort_keys=True).encode()).hexdigest()[:12]


def stale(folder: Path, digests: Mapping[str, str]) -> list[str]:
    """The pictures of a folder that show something else than what has these digests."""
    texts = {name: (folder / f"{name}.svg").read_text(encoding="utf-8") for name in digests}
    return [name for name, text in texts.items() if f"<!-- {digests[name]} -->" not in text]


def main() -> None:
    folder = DOCS / "pictures"
    folder.mkdir(exist_ok=True)
    for name, picture in PICTURES.items():
        chart = picture()
        text = f"{plots.svg(chart)}\n<!-- {digest(chart)} -->\n"
        (folder / f"{name}.svg").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
