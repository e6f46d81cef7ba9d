"""The built-in world: a micro-language whose nouns are invented and whose judge is exact.

It is a fruit fly and not a patient: what is found here is a hypothesis about large models, never a measurement of one.
"""

from flyroom.world.judge import exact_judge, read_scratchpad, thought_judge
from flyroom.world.lexicon import DOMAINS, World

__all__ = ["DOMAINS", "World", "exact_judge", "read_scratchpad", "thought_judge"]
