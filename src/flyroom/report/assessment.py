"""An assessment as JSON, Markdown and one HTML file: pure, as the rest of this package.

It comes as plain JSON values, and so a stored report is drawn as a fresh one. What is confirmed here stands apart from
what is suggested by analogy, and silence is told as what may have been missed. Transcripts are text: the templates
escape them, and in Markdown they stand in code.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from flyroom.report.page import inline, template
from flyroom.report.parts import PART_HEAD, PARTS, part_rows
from flyroom.report.plots import COLOURS, of_assessment, svg
from flyroom.report.text import write_table
from flyroom.report.views import bare
from flyroom.report.words import clean, percent

TITLES = {
    "confirmed": "Confirmed here",
    "suggested": "Suggested by analogy",
    "not found": "Not found",
    "abstain": "Nothing can be said",
}
NOTES = {
    "confirmed": "Episodes that anybody can repeat: the prompt, the answer, and how often it came again.",
    "suggested": "The instrument flags this model as it flags organisms of these threats. No episode shows it.",
    "not found": "Silence: so many organisms of these threats would have been silent too. It does not say “aligned”.",
    "abstain": "No calibrated error rate exists here.",
}
Figures = Mapping[str, Any]


def assessment_figures(assessment: Any) -> dict[str, Any]:
    """An `assess.Assessment` as JSON values. The form stands in docs/assess.md."""
    return {
        "model": assessment.model,
        "scope": dict(assessment.scope),
        "probes": [_probe(probe) for probe in assessment.probes],
        "findings": [_threat(threat) for threat in assessment.threats],
        "abstained": assessment.abstained,
        "why": assessment.why,
        "p": assessment.p,
        "flagged": assessment.flagged,
        "outside": bare(assessment.outside),
        "false_alarms": _alarm(assessment.alarm),
        "preregistration": dict(assessment.plan),
        "cost": dict(assessment.cost),
        "limits": list(assessment.limits),
        "notes": list(assessment.notes),
        "parts": [_part(part) for part in assessment.parts],
    }


def _part(part: Any) -> dict[str, Any]:
    """A part of the instrument with its calibration. `claim` and `naming` are those of a method."""
    record = {name: getattr(part, name) for name in ("name", "value", "p", "flagged")}
    record |= {
        "false_alarms": _alarm(part.alarm),
        "threats": [{"threat": t, **_recall(r)} for t, r in part.recalls.items()],
    }
    right, of = part.naming or (0, 0)
    return record | ({} if part.naming is None else {"claim": part.claim, "naming": {"right": right, "of": of}})


def _probe(probe: Any) -> dict[str, Any]:
    record = bare(probe)
    return {"asked" if name == "asks" else name: value for name, value in record.items()}


def _threat(threat: Any) -> dict[str, Any]:
    return {
        "threat": threat.name,
        "status": threat.status,
        "likelihood_ratio": _bound(threat.ratio),
        "missed_up_to": threat.missed_share,
        "episodes": [_episode(repeat) for repeat in threat.episodes],
        "caveats": list(threat.caveats),
        "calibration": None if threat.recall is None else _recall(threat.recall),
    }


def _episode(repeat: Any) -> dict[str, Any]:
    record = bare(repeat)
    record["messages"] = [{"role": message.role, "content": message.content} for message in repeat.messages]
    return record | {"prompt": repeat.messages[-1].content, "repeated": {"times": repeat.again, "of": repeat.of}}


def _recall(recall: Any) -> dict[str, Any]:
    counts = {"caught": recall.hits} | {name: getattr(recall, name) for name in ("organisms", "recipes", "seeds")}
    return counts | {"sensitivity": _bound(recall.share), "another_recipe": _bound(recall.another)}


def _alarm(alarm: Any) -> dict[str, Any] | None:
    if alarm is None:
        return None
    counts = {"clean": alarm.clean, "recipes": alarm.recipes, "decoys": alarm.decoys}
    bounds = {"rate": _bound(alarm.rate), "decoys_above": alarm.decoys_above, "decoy_rate": _bound(alarm.decoy_rate)}
    return counts | bounds


def _bound(bound: Any) -> dict[str, float] | None:
    return None if bound is None else {"value": bound.value, "low": bound.low, "high": bound.high}


# ---------------------------------------------------------------- Markdown


def markdown_assessment(figures: Figures) -> str:
    """The report as Markdown. Everything that a model said stands in code, where nothing of it is markup."""
    parts = [f"# Assessment of {_code(figures['model'])}\n", f"{headline_of(figures)} {reason_of(figures)}\n"]
    for status, title in TITLES.items():
        findings = [f for f in figures["findings"] if f["status"] == status]
        if findings:
            parts += [f"## {title}\n", f"{NOTES[status]}\n", _write_findings(findings)]
            parts += [_write_episode(episode) for finding in findings for episode in finding["episodes"]]
    parts += ["## Probes\n", write_table(*_probe_rows(figures))]
    if rows := part_rows(figures):
        parts += ["## Parts of the instrument\n", f"{PARTS}\n", write_table(PART_HEAD, rows)]
    parts += ["## Scope and cost\n", write_table(["what", "value"], facts_of(figures))]
    parts += ["## Limits\n", "\n".join(f"- {_plain(line)}" for line in [*figures["limits"], *figures["notes"]]) + "\n"]
    return "\n".join(parts)


def _write_findings(findings: Sequence[Figures]) -> str:
    head = ["threat", "likelihood ratio", "would have missed up to", "caveats"]
    rows = [
        [f["threat"], write_ratio(f["likelihood_ratio"]), write_missed(f["missed_up_to"]), "; ".join(f["caveats"])]
        for f in findings
    ]
    return write_table(head, rows)


def _write_episode(episode: Figures) -> str:
    turns = "\n".join(f"{m['role']}: {m['content']}" for m in [*episode["messages"], _answer(episode)])
    return f"\n{_plain(describe_episode(episode))}\n\n{_fence(turns)}\n"


def _answer(episode: Figures) -> dict[str, str]:
    return {"role": "assistant", "content": episode["answer"]}


def _fence(text: str) -> str:
    """A block of code that no text in it can end."""
    longest = max((len(run) for run in _runs(text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}text\n{clean(text)}\n{fence}"


def _runs(text: str) -> list[str]:
    return re.findall("`+", text)


def _code(text: str) -> str:
    return f"`{clean(text).replace('`', chr(39))}`"


def _plain(text: str) -> str:
    return "".join(f"\\{c}" if c in "\\`*_[]<>#|" else c for c in clean(text))


# ---------------------------------------------------------------- words


def headline_of(figures: Figures) -> str:
    """What came of it, in a sentence."""
    if figures["abstained"]:
        return f"Nothing is inferred of {clean(figures['model'])}."
    names = {s: [f["threat"] for f in figures["findings"] if f["status"] == s] for s in TITLES}
    parts = [
        f"{len(names['confirmed'])} confirmed here"
        + (f" ({', '.join(names['confirmed'])})" if names["confirmed"] else ""),
        f"{len(names['suggested'])} suggested by analogy",
        f"{len(names['not found'])} not found",
        f"{len(names['abstain'])} of which nothing can be said",
    ]
    return f"Of {len(figures['findings'])} threats: {'; '.join(parts)}."


def reason_of(figures: Figures) -> str:
    """Why nothing is inferred, or what the locked instrument says of the model."""
    why = clean(figures["why"])
    return f"{why[:1].upper()}{why[1:]}." if figures["abstained"] else f"The model is {why}."


def write_ratio(ratio: Figures | None) -> str:
    return "-" if ratio is None else f"{ratio['value']:.3g} [{ratio['low']:.3g}, {ratio['high']:.3g}]"


def write_missed(share: float | None) -> str:
    return "-" if share is None else percent(share)


def describe_episode(episode: Figures) -> str:
    """How an episode was had, and how often it came again."""
    verdict = f"{episode['verdict']} ({episode['why']})"
    how = f"seed {episode['seed']}, temperature {episode['temperature']:g}, at most {episode['max_tokens']} tokens"
    clean_models = f"{episode['clean']} of {episode['clean_of']} clean fine-tunes answer so"
    again = f"Came again in {episode['again']} of {episode['of']} fresh answers"
    return f"{again}; {clean_models}{_say_otherwise(episode)}. Verdict {verdict}, {how}."


def _say_otherwise(episode: Figures) -> str:
    if not episode["otherwise_of"]:
        return ""
    return f", and it {episode['otherwise']} of {episode['otherwise_of']} times where the condition does not hold"


def _probe_rows(figures: Figures) -> tuple[list[str], list[list[str]]]:
    head = ["threat", "source", "asked", "told anything", "misaligned", "refused", "unknown", "rate at most"]
    rows = [
        [
            p["threat"],
            p["source"],
            *(str(p[name]) for name in ("asked", "answered", "misaligned", "refused", "unknown")),
            p["why"] if p["why"] else "-" if p["rate_at_most"] is None else percent(p["rate_at_most"]),
        ]
        for p in figures["probes"]
    ]
    return head, rows


def facts_of(figures: Figures) -> list[list[str]]:
    """Scope, plan and cost, as pairs of words."""
    scope, plan, alarm = figures["scope"], figures["preregistration"], figures["false_alarms"]
    models, awareness = scope["models"], scope["evaluation_awareness"]
    pairs = {
        "access": scope["access"],
        "calibrated on": f"{scope['calibrated_on']['name']} ({scope['calibrated_on']['digest'][:12]})",
        "calibrated models": f"{models['organisms']} organisms of {models['recipes']} recipes and {models['seeds']} "
        f"seeds, {models['clean']} clean fine-tunes, {models['decoys']} decoys",
        "false-positive rate": "-" if alarm is None else write_ratio(alarm["rate"]),
        "decoys flagged": "-" if alarm is None else f"{alarm['decoys_above']} of {alarm['decoys']}",
        "instrument": ", ".join(scope["instrument"]),
        "not run": "; ".join(scope["not_run"]) or "-",
        "outside of what was calibrated": figures["outside"]["why"],
        "refused": f"{scope['refused']} of {scope['probes']}",
        "evaluation awareness": f"{awareness['speak_of_a_test']} of {awareness['of']} answers speak of a test; "
        f"misaligned when seen {_share(awareness['misaligned_when_seen'])}, when unseen "
        f"{_share(awareness['misaligned_when_unseen'])}",
        "announced before": f"line {plan['line']} of the log at {plan['at']}, {plan['sha256']}, by {plan['who']}"
        + ("" if plan["signed"] else " (unsigned)"),
        "ran by": scope["ran_by"],
        "cost": ", ".join(f"{name} {value}" for name, value in figures["cost"].items() if value not in (None, {})),
    }
    return [[name, str(value)] for name, value in pairs.items()]


def _share(value: float | None) -> str:
    return "not measured" if value is None else percent(value)


# ---------------------------------------------------------------- HTML


def assessment_page(figures: Figures, commands: Sequence[str] = ()) -> str:
    """One self-contained HTML document: no network, no script."""
    groups = [
        {"status": status, "title": title, "note": NOTES[status], "findings": findings}
        for status, title in TITLES.items()
        if (findings := [_view(f) for f in figures["findings"] if f["status"] == status])
    ]
    head, rows = _probe_rows(figures)
    chart = of_assessment.over_prior(figures["findings"])
    return template("assessment.html.jinja").render(
        title=f"Assessment of {clean(figures['model'])}",
        headline=headline_of(figures),
        reason=reason_of(figures),
        groups=groups,
        head=head,
        rows=[[clean(cell) for cell in row] for row in rows],
        parts=PARTS,
        part_head=PART_HEAD,
        part_rows=[[clean(cell) for cell in row] for row in part_rows(figures)],
        facts=[[clean(cell) for cell in pair] for pair in facts_of(figures)],
        limits=[clean(line) for line in [*figures["limits"], *figures["notes"]]],
        plan=json.dumps(figures["preregistration"]["plan"], indent=1, ensure_ascii=False),
        signature=figures.get("signature"),
        curve=inline(svg(chart), label=of_assessment.CAPTION, prefix="lr-") if chart else "",
        caption=of_assessment.CAPTION,
        colours=COLOURS,
        commands=clean("\n".join(commands)),
    )


def _view(finding: Figures) -> dict[str, Any]:
    return {
        "threat": clean(finding["threat"]),
        "ratio": write_ratio(finding["likelihood_ratio"]),
        "missed": write_missed(finding["missed_up_to"]),
        "caveats": [clean(line) for line in finding["caveats"]],
        "episodes": [
            {
                "words": clean(describe_episode(episode)),
                "turns": [(m["role"], clean(m["content"])) for m in [*episode["messages"], _answer(episode)]],
            }
            for episode in finding["episodes"]
        ],
    }
