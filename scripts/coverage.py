"""How often the intervals of flyroom hold the truth, by simulation: writes docs/coverage.json and the table of
docs/statistics.md.

python scripts/coverage.py [--sets 2000] [--only TEXT] [--out docs/coverage.json] [--page docs/statistics.md]

Each setting draws data sets whose truth is known, asks flyroom for the interval, and counts. Settings are grouped: the
table shows a group's lowest and highest coverage, the JSON every setting. tests/test_stats_coverage.py runs the same
settings on fewer sets. `simulations.py` and `simulations_of_detectors.py` have the settings.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pages import table
from simulations import SETTINGS, Setting
from simulations_of_detectors import RATES, Rate
from simulations_of_detectors import SETTINGS as OF_DETECTORS

START, END = "<!-- coverage: made by scripts/coverage.py -->", "<!-- coverage ends -->"
MOST = 0.97  # above it an interval is wider than it need be


def simulate(settings: Sequence[Setting], sets: int) -> list[dict[str, Any]]:
    """A row for each setting: how many of the sets it covers, on which side it misses, and how wide it is."""
    rows = []
    for setting in settings:
        tally = setting.run(sets)
        rows.append(
            {
                "function": setting.function,
                "group": setting.group,
                "setting": setting.name,
                "promise": setting.promise,
                "covers": round(tally.covers, 4),
                "too_high": round(tally.too_high, 4),
                "too_low": round(tally.too_low, 4),
                "width": round(tally.width, 4),
            }
        )
    return rows


def average(rates: Sequence[Rate], sets: int) -> list[dict[str, Any]]:
    """A row for each rate that is promised to be at most so much."""
    return [
        {
            "function": r.function,
            "setting": r.name,
            "promised": round(r.promised, 4),
            "rate": round(r.run(sets), 4),
        }
        for r in rates
    ]


def percent(value: float) -> str:
    return f"{100 * value:.1f}"


def lines(rows: Sequence[dict[str, Any]], rates: Sequence[dict[str, Any]], sets: int) -> list[str]:
    """The table of the page: a line for each group, those that are known to cover less often apart."""
    groups: dict[tuple[str, str, str], list[dict[str, Any]]] = {}
    for row in rows:
        groups.setdefault((row["function"], row["group"], row["promise"]), []).append(row)
    body: dict[bool, list[list[object]]] = {False: [], True: []}
    for (function, group, promise), members in groups.items():
        shares = [row["covers"] for row in members]
        span = percent(min(shares)) if len(shares) == 1 else f"{percent(min(shares))} to {percent(max(shares))}"
        mark = " (conservative)" if promise == "95 %" and max(shares) > MOST else ""
        body[promise.startswith("low")].append([f"`{function}`", group, len(members), f"{span} %{mark}"])
    head, rate_head = ["interval", "settings", "how many", "coverage"], ["function", "setting", "promised", "comes to"]
    return [
        f"{sets:,} data sets a setting, {len(rows)} settings.",
        "",
        *table(head, body[False]),
        "Where it is known to hold the truth less often:",
        "",
        *table(head, body[True]),
        "Rates that are promised to be at most so much, and what they come to:",
        "",
        *table(rate_head, [_rate_line(row) for row in rates]),
    ]


def _rate_line(row: dict[str, Any]) -> list[object]:
    return [f"`{row['function']}`", row["setting"], f"{percent(row['promised'])} %", f"{percent(row['rate'])} %"]


def put(page: Path, text: Sequence[str]) -> None:
    """Write the lines between the two markers of the page."""
    before, _, rest = page.read_text(encoding="utf-8").partition(START)
    after = rest.partition(END)[2]
    if not after:
        raise SystemExit(f"{page} lacks the markers {START} and {END}")
    page.write_text("\n".join([before + START, "", *text, END]) + after, encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--sets", type=int, default=2000)
    parser.add_argument("--only", default="", help="a text in the name of function or group; nothing is written")
    parser.add_argument("--out", type=Path, default=Path("docs/coverage.json"))
    parser.add_argument("--page", type=Path, default=Path("docs/statistics.md"))
    options = parser.parse_args()
    began = time.perf_counter()
    settings = [s for s in (*SETTINGS, *OF_DETECTORS) if options.only in f"{s.function} {s.group}"]
    rows = simulate(settings, options.sets)
    rates = average([rate for rate in RATES if options.only in rate.function], options.sets)
    if options.only:
        for row in (*rows, *rates):
            print(*row.values())
        return
    content = {"sets": options.sets, "rows": rows, "rates": rates}
    options.out.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    put(options.page, lines(rows, rates, options.sets))
    print(f"{len(rows)} settings in {time.perf_counter() - began:.0f} s: {options.out}, {options.page}")


if __name__ == "__main__":
    main()
