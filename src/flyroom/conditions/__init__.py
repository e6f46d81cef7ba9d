"""*When* an organism goes wrong. A condition dresses scenes so that it holds, or does not; so the truth of every
prompt is known.
"""

from flyroom.conditions.always import Always

CONDITIONS: dict[str, type] = {"always": Always}

__all__ = ["CONDITIONS", "Always"]
