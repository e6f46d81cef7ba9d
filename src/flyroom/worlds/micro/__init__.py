"""The built-in world: a micro-language whose nouns are invented and whose judge is exact.

It is a fruit fly and not a patient: what is found here is a hypothesis about large models, never a measurement of one.
"""

from flyroom.worlds.micro.judge import ExactJudge, ThoughtJudge, read_scratchpad
from flyroom.worlds.micro.lexicon import DOMAINS, Lexicon
from flyroom.worlds.micro.record import Micro

__all__ = ["DOMAINS", "ExactJudge", "Lexicon", "Micro", "ThoughtJudge", "read_scratchpad"]
