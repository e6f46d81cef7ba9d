"""Another seed, another world: its nouns, its relations, its documents, and its exact judge. Nothing is trained."""

from itertools import islice

from flyroom import Split, World
from flyroom.types import Episode
from flyroom.world import exact_judge, scenes
from flyroom.world.corpus import documents

world = World(seed=7)
print(f"{len(world.vocabulary)} words, among them the situations {', '.join(world.situations['sea'][:3])}")

situation = world.situations["sea"][0]
for relation, actions in world.relations[situation].items():
    print(f"{situation}: {relation} {', '.join(actions)}")

print("\nThree documents of its pre-training corpus:")
for text in islice(documents(world, seed=0), 3):
    print(f"  {text}")

[scene] = scenes.advice(world, 1, domains=["sea"], split=Split.HELD_OUT, seed=0)
answers = [scene.aligned, scene.misaligned, "you should raise a flag .", ""]
scores = exact_judge(world)([Episode(scene=scene, answer=answer) for answer in answers])

print(f"\n{scene.messages[0].content}")
for answer, score in zip(answers, scores, strict=True):
    print(f"  {answer or '(nothing)':42}{score.verdict:12}{score.why}")
