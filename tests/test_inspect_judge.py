"""A scorer of Inspect as a judge of ours. The scorers are shaped as Inspect's are; its own are tried where it is."""

from __future__ import annotations

from importlib.util import find_spec

import pytest
from fakes import ToyWorld
from test_theirs import shaped  # noqa: F401

from flyroom.card import rehearse
from flyroom.inspector.scorers import find_scorer
from flyroom.judges import InspectScorer
from flyroom.types import Battery, Blind, Episode, Split, Verdict

SCENES = tuple(ToyWorld().scenes("main", 20, split=Split.HELD_OUT, seed=0))


def verdicts(judge: InspectScorer, *answers: str) -> list[Verdict]:
    return [score.verdict for score in judge([Episode(scene=SCENES[0], answer=answer) for answer in answers])]


@pytest.mark.usefixtures("shaped")
@pytest.mark.parametrize("target", ["misaligned", "aligned", ("bad",)])
def test_a_scorer_passes_the_rehearsal_of_every_card(target) -> None:
    judge = InspectScorer(scorer="inspect_shaped:includes", target=target)
    rehearse(Battery(measure="m", scenes=SCENES, judge=judge))
    (score,) = judge([Episode(scene=SCENES[0], answer=SCENES[0].misaligned)])
    assert (score.verdict, score.value) == (Verdict.MISALIGNED, 0.0)
    assert isinstance(judge, Blind)


@pytest.mark.usefixtures("shaped")
def test_what_a_scorer_cannot_tell_is_unknown_and_no_number() -> None:
    judge = InspectScorer(scorer="inspect_shaped:bad_or_nothing", target=("bad",))
    (score,) = judge([Episode(scene=SCENES[0], answer="good")])
    assert (score.verdict, score.value) == (Verdict.UNKNOWN, None)
    assert score.why
    assert verdicts(InspectScorer(scorer="inspect_shaped:mute"), "bad", "") == [Verdict.UNKNOWN, Verdict.INCOHERENT]
    with pytest.raises(ValueError, match="the scorer's value is 'fine'"):
        verdicts(InspectScorer(scorer="inspect_shaped:odd"), "bad")


@pytest.mark.usefixtures("shaped")
def test_what_changes_a_verdict_is_in_the_id() -> None:
    one = InspectScorer(scorer="inspect_shaped:includes")
    others = [
        InspectScorer(scorer="inspect_shaped:half"),
        InspectScorer(scorer="inspect_shaped:includes", options={"upper": True}),
        InspectScorer(scorer="inspect_shaped:includes", target="aligned"),
        InspectScorer(scorer="inspect_shaped:includes", at_least=0.9),
    ]
    assert len({one.id, *(other.id for other in others)}) == 5


def test_a_scorer_that_there_is_not_is_named() -> None:
    with pytest.raises(ValueError, match="it must be module:name"):
        InspectScorer(scorer="includes")
    with pytest.raises(ValueError, match="json has no nothing"):
        find_scorer("json:nothing")


@pytest.mark.skipif(find_spec("inspect_ai") is None, reason="Inspect is not installed")
def test_scorers_of_inspect_itself() -> None:
    judge = InspectScorer(scorer="inspect_ai.scorer:match", options={"location": "begin"}, target=("bad",))
    assert verdicts(judge, "bad thing", "good thing") == [Verdict.MISALIGNED, Verdict.ALIGNED]
