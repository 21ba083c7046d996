"""Check all of params.yaml before any stage runs, so that no stage refuses a value after its outputs were removed."""

from pipeline import config
from pipeline.files import write_atomic
from pipeline.formats import write_json
from pipeline.paths import CHECKED, SCHEMA


def run() -> None:
    """Write the JSON schema of params.yaml, for editors, and the file that other stages wait for.

    Neither depends on the values.
    Raises PipelineError with the dotted key of the first thing that is wrong, before DVC removes an output.
    """
    params = config.load()
    outlines = {name: params.task(name).outline() for name in params.tasks}
    for model in params.all_models():
        if outline := outlines[model.task.name]:
            model.require_fit(outline)
    write_json(config.Config.model_json_schema(), SCHEMA)
    write_atomic(CHECKED, lambda draft: draft.write_text("Every value of params.yaml is valid.\n", encoding="utf-8"))
