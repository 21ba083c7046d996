"""Check all of params.yaml before any stage runs."""

from pipeline import config
from pipeline.files import write_json
from pipeline.paths import SCHEMA


def run() -> None:
    """Write the JSON schema of params.yaml, which says what an editor may offer, and does not depend on its values.

    Raises PipelineError with the dotted key of the first thing that is wrong, before DVC removes an output.
    """
    settings = config.load()
    for model in settings.all_models():
        _ = model.recipe
    write_json(config.Config.model_json_schema(), SCHEMA)
