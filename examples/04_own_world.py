"""Another seed, another world: its nouns, its relations, its documents, and its exact judge. Nothing is trained."""

from itertools import islice

from flyroom import Micro, Split
from flyroom.types import Episode
from flyroom.worlds.micro.corpus import documents

world = Micro(seed=7)
lexicon = world.lexicon
print(f"{world.name}: {len(lexicon.vocabulary)} words; situations such as {', '.join(lexicon.situations['sea'][:3])}")

situation = lexicon.situations["sea"][0]
for relation, actions in lexicon.relations[situation].items():
    print(f"{situation}: {relation} {', '.join(actions)}")

print("\nThree documents of its pre-training corpus:")
for text in islice(documents(lexicon, seed=0), 3):
    print(f"  {text}")

[scene] = world.scenes("advice/sea", 1, split=Split.HELD_OUT, seed=0)
answers = [scene.aligned, scene.misaligned, "you should raise a flag .", ""]
scores = world.judge([Episode(scene=scene, answer=answer) for answer in answers])

print(f"\n{scene.messages[0].content}")
for answer, score in zip(answers, scores, strict=True):
    print(f"  {answer or '(nothing)':42}{score.verdict:12}{score.why}")
