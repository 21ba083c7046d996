"""Make the raw data of a task."""

from pipeline import manifest
from pipeline.config import TaskSetup


def run(task: TaskSetup) -> None:
    """Write the raw data of a task into its folder under data/raw, with their manifest.

    Raises PipelineError, before anything is written, if the task's folder lacks something that a later stage needs.
    """
    task.check()
    task.paths.raw.mkdir(parents=True, exist_ok=True)
    task.data.generate(task.params.generate, task.source, task.paths.raw)
    manifest.write_all(task.paths.raw)
    print(f"{task.name}: raw data in {task.paths.raw}")
