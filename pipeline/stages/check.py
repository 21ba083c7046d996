"""Check all of params.yaml before any stage runs."""

from pipeline import config
from pipeline.errors import PipelineError, quoted
from pipeline.files import write_json
from pipeline.paths import PARAMS, SCHEMA


def run() -> None:
    """Write the JSON schema of params.yaml, which says what an editor may offer, and does not depend on its values.

    Raises PipelineError with the dotted key of the first thing that is wrong, before DVC removes an output.
    """
    settings = config.load()
    if not any(settings.recipe in model.params.recipes for model in settings.all_models()):
        raise PipelineError(
            f"{PARAMS}: recipe: no model has {quoted(settings.recipe)}; select a recipe of the models that you train."
        )
    write_json(config.Config.model_json_schema(), SCHEMA)
