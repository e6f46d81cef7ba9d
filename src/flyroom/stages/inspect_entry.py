"""What Inspect loads when somebody names flyroom (the entry point `inspect_ai`): the models and the tasks."""

from flyroom.stages.inspect_models import provider
from flyroom.stages.inspect_tasks import TASKS, probe

__all__ = ["TASKS", "probe", "provider"]
