"""flyroom and Inspect (inspect.aisi.org.uk): the parts that need neither a room nor a base.

Records of the one become records of the other (`messages`, `logs`), concurrent calls become one batch (`gather`), a
model that answers them stands as a model of Inspect (`models`), and a scorer of Inspect is called on a finished
conversation (`scorers`). Whoever opens rooms and bases joins them (`stages`).

Nothing of Inspect is imported here: it is an extra, flyroom[inspect], and takes seconds.
"""

from importlib.util import find_spec

EXTRA = "pip install 'flyroom[inspect]'"


def require_inspect(what: str) -> None:
    """ValueError where Inspect is not installed, which names the extra.

    >>> require_inspect("logs")
    """
    if find_spec("inspect_ai") is None:
        raise ValueError(f"{what} need Inspect, which is not installed: {EXTRA}")
