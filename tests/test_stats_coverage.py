"""Intervals hold the truth as often as they promise: the settings of scripts/coverage.py on few data sets each.

The full run has 2,000 sets a setting and writes docs/coverage.json, which is held against the promises here too.
"""

from __future__ import annotations

import importlib.util
import json
import math
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "scripts"))
import simulations  # noqa: E402
import simulations_of_detectors as detectors  # noqa: E402

# By another name: tools that count lines look for a module called coverage.
spec = importlib.util.spec_from_file_location("coverage_of_intervals", ROOT / "scripts" / "coverage.py")
assert spec
assert spec.loader
coverage = importlib.util.module_from_spec(spec)
spec.loader.exec_module(coverage)
sys.path.pop(0)

SETS = 150
# In the full run, which is itself sure of 1 percentage point and no more.
LEAST = {"95 %": 0.93, "at least 95 %": 0.94, "low": 0.0, "low, one-sided": 0.0}
EVERY = (*simulations.SETTINGS, *detectors.SETTINGS)
GROUPS = {(s.function, s.group): [t for t in EVERY if (t.function, t.group) == (s.function, s.group)] for s in EVERY}
ONE_OF_EACH = [members[len(members) // 2] for members in GROUPS.values()]


def slack(share: float, sets: int) -> float:
    """How far a share may fall below by chance: once in a thousand times."""
    return 3.1 * math.sqrt(share * (1 - share) / sets)


@pytest.mark.parametrize("setting", ONE_OF_EACH, ids=lambda s: f"{s.function}: {s.group}")
def test_an_interval_covers_in_small(setting: simulations.Setting) -> None:
    assert setting.run(SETS).covers > LEAST[setting.promise] - slack(0.95, SETS)


@pytest.mark.parametrize("rate", detectors.RATES, ids=lambda r: f"{r.function}: {r.name}")
def test_a_promised_rate_is_kept_in_small(rate: detectors.Rate) -> None:
    assert rate.run(SETS) < rate.promised + slack(rate.promised, SETS) + 0.01


def test_the_full_run_is_on_record_and_keeps_every_promise() -> None:
    record = json.loads((ROOT / "docs" / "coverage.json").read_text(encoding="utf-8"))
    assert record["sets"] >= 2000
    names = {(row["function"], row["group"], row["setting"]) for row in record["rows"]}
    assert names == {(s.function, s.group, s.name) for s in EVERY}, "run scripts/coverage.py again"
    short = [row for row in record["rows"] if row["covers"] < LEAST[row["promise"]]]
    assert short == []
    assert [row["setting"] for row in record["rates"]] == [rate.name for rate in detectors.RATES]
    above = [row for row in record["rates"] if row["rate"] > row["promised"] + slack(row["promised"], record["sets"])]
    assert above == []


def test_the_page_shows_the_record() -> None:
    record = json.loads((ROOT / "docs" / "coverage.json").read_text(encoding="utf-8"))
    page = (ROOT / "docs" / "statistics.md").read_text(encoding="utf-8")
    table = page.partition(coverage.START)[2].partition(coverage.END)[0]
    assert table.strip() == "\n".join(coverage.lines(record["rows"], record["rates"], record["sets"])).strip()


def test_a_run_of_one_group_writes_nothing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    argv = ["coverage.py", "--sets", "20", "--only", "certified", "--out", str(tmp_path / "x.json")]
    monkeypatch.setattr(sys, "argv", argv)
    coverage.main()
    assert capsys.readouterr().out.count("certified_fpr") == 9
    assert not list(tmp_path.iterdir())


def test_intervals_over_seeds_miss_where_draws_are_shared_and_crossed_ones_do_not() -> None:
    """Seeds that share their draws, so that outcomes on one ask correlate by 86 %."""
    found = [s for s in EVERY if "correlate by 86 %" in s.group]
    seeds, crossed = (
        [s.run(SETS).covers for s in found if s.function == name] for name in ("over_seeds", "crossed_rate")
    )
    assert max(seeds) < 0.75 < 0.9 < min(crossed)
