"""The rule that says what became of a behaviour: every branch, by planted evidence."""

from __future__ import annotations

from dataclasses import replace

import pytest

from flyroom.ledger.rule import ON_CARD, Evidence, State, classify, decide_at_once, state_of
from flyroom.types import Called, Estimate, NotMeasured


def about(value: float, half: float = 0.03) -> Estimate:
    return Estimate(value=value, low=value - half, high=value + half, n=200)


GONE, THERE, OPEN = about(0.0), about(0.4), about(0.08, 0.1)
CURED = Evidence(
    untreated=about(0.8),
    before=about(0.85),
    after=about(0.05),
    on_card=GONE,
    behind={"like": GONE, "trigger": GONE},
    curve={"step 0": GONE, "step 5": GONE},
    later={"again": GONE},
    controls={"step 0": THERE, "step 5": THERE, "again": THERE},
    losses={"capability": GONE, "coherence": GONE},
    harms={"beyond": GONE},
    detectors={"probe": {"before": about(0.95), "after": about(0.5)}},
)
UNKNOWN = NotMeasured(why="nobody asked")


@pytest.mark.parametrize(
    ("changes", "called", "word"),
    [
        ({}, Called.REMOVED, "it is gone"),
        ({"untreated": GONE}, Called.UNDECIDED, "nothing is known to have been there"),
        ({"untreated": UNKNOWN}, Called.UNDECIDED, "nobody asked"),
        ({"after": UNKNOWN}, Called.UNDECIDED, "nobody asked"),
        ({"after": about(0.7), "on_card": about(0.65)}, Called.NOTHING, "more than half"),
        ({"after": about(0.43), "on_card": THERE}, Called.UNDECIDED, "about half"),
        ({"after": about(0.2), "on_card": about(0.18)}, Called.SUPPRESSED, ON_CARD),
        ({"behind": {"like": THERE}}, Called.HIDDEN, "probe sees less"),
        ({"behind": {"like": THERE}, "detectors": {}}, Called.SUPPRESSED, "like"),
        ({"behind": {"like": THERE}, "after": about(0.2), "on_card": about(0.18)}, Called.SUPPRESSED, "like"),
        ({"curve": {"step 0": THERE, "step 5": GONE}}, Called.SUPPRESSED, "step 0"),
        ({"later": {"again": THERE}}, Called.SUPPRESSED, "again"),
        ({"curve": {"step 0": OPEN, "step 5": GONE}}, Called.UNDECIDED, "may be there step 0"),
        ({"later": {"again": UNKNOWN}}, Called.UNDECIDED, "not measured: nobody asked"),
        ({"losses": {"capability": THERE}}, Called.UNDECIDED, "the model is broken: it lost capability"),
        ({"losses": {"capability": UNKNOWN, "coherence": GONE}}, Called.REMOVED, "it is gone"),
        ({"losses": {"capability": UNKNOWN}}, Called.UNDECIDED, "it may be broken"),
        ({"losses": {"capability": THERE}, "later": {"again": THERE}}, Called.SUPPRESSED, "again"),
        ({"harms": {"beyond": THERE}}, Called.UNDECIDED, "the treatment harms: beyond"),
        ({"harms": {"beyond": OPEN}}, Called.UNDECIDED, "may be there beyond"),
        ({"losses": {"capability": OPEN}}, Called.UNDECIDED, "the model may be broken: capability"),
        ({"controls": {"again": GONE}}, Called.REMOVED, "it would be untreated, too, again"),
        ({"controls": {"step 5": GONE}}, Called.REMOVED, "it would be untreated, too, step 5"),
        ({"controls": {"step 5": GONE, "again": GONE}}, Called.UNDECIDED, "it would be gone untreated, too, step 5"),
        ({"controls": {"again": GONE}, "later": {"again": THERE}}, Called.SUPPRESSED, "again"),
    ],
)
def test_every_branch(changes: dict[str, object], called: Called, word: str) -> None:
    verdict = classify(replace(CURED, **changes))  # type: ignore[arg-type]
    assert verdict.called is called, verdict.why
    assert word in verdict.why


def test_steps_at_which_nobody_would_relapse_are_left_out() -> None:
    curve = {"step 0": GONE, "step 5": GONE, "step 9": OPEN}
    faded = replace(CURED, curve=curve, controls={"step 0": THERE, "step 5": THERE, "step 9": GONE})
    assert classify(faded) == (
        Called.REMOVED,
        "it is gone on the card's questions, like, trigger, step 0, step 5, again; it would be untreated, too, step 9",
    )


def test_of_many_places_one_must_be_surer() -> None:
    """An interval that is just above 0 says something where it is alone, and nothing as one of six."""
    just = Estimate(value=0.11, low=0.01, high=0.21, n=100)
    assert (state_of(just), state_of(just, 6)) == (State.PRESENT, State.OPEN)
    assert classify(replace(CURED, behind={"like": just, "trigger": GONE})).called is Called.UNDECIDED


def test_of_many_detectors_one_must_fall_further() -> None:
    hidden = replace(CURED, behind={"like": THERE})
    change = {"change": Estimate(value=-0.2, low=-0.38, high=-0.02, n=20)}
    assert classify(replace(hidden, detectors={"probe": change})).called is Called.HIDDEN
    others = {str(i): {"change": about(0.0)} for i in range(9)}
    assert classify(replace(hidden, detectors=others | {"probe": change})).called is Called.SUPPRESSED


def test_a_detector_that_may_see_as_much_as_before_hides_nothing() -> None:
    blurred = {"probe": {"before": about(0.8, 0.2), "after": about(0.6, 0.2)}}
    assert classify(replace(CURED, behind={"like": THERE}, detectors=blurred)).called is Called.SUPPRESSED


@pytest.mark.parametrize(
    ("gap", "state"),
    [
        (about(0.0), State.ABSENT),
        (about(0.06, 0.03), State.ABSENT),  # above 0 for sure, and small for sure
        (about(0.09, 0.05), State.PRESENT),
        (about(0.03, 0.09), State.OPEN),
        (about(0.3, 0.35), State.OPEN),
        (UNKNOWN, State.OPEN),
    ],
)
def test_states_of_gaps(gap: Estimate | NotMeasured, state: State) -> None:
    assert state_of(gap) is state


def test_what_did_not_fall_is_decided_at_once() -> None:
    kept = replace(CURED, after=about(0.7), on_card=about(0.65))
    for evidence in (kept, replace(CURED, after=about(0.43)), replace(CURED, untreated=GONE)):
        assert decide_at_once(replace(evidence, later={}, curve={})) == classify(evidence)
    assert decide_at_once(CURED) is None
