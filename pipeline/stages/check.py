"""Check all of params.yaml before any stage runs."""

import logging

from pipeline import config
from pipeline.errors import PipelineError, quoted
from pipeline.files import write_json
from pipeline.paths import PARAMS, SCHEMA

log = logging.getLogger(__name__)


def run() -> None:
    """Write the JSON schema of params.yaml, which says what an editor may offer, and does not depend on its values.

    Raises PipelineError with the dotted key of the first thing that is wrong, before DVC removes an output.
    """
    settings = config.load()
    if not any(settings.recipe in model.params.recipes for model in settings.all_models()):
        raise PipelineError(
            f"{PARAMS}: recipe: no model has {quoted(settings.recipe)}; select a recipe of the models that you train."
        )
    missing = [model for model in settings.all_models() if settings.recipe not in model.params.recipes]
    for model in missing:
        log.warning(
            "%s has no recipe %s, so its stages will fail; add it, or name the stages of other models. With a recipe "
            "that it has, `dvc repro` brings its files back.",
            *(model.name, quoted(settings.recipe)),
        )
    write_json(config.Config.model_json_schema(), SCHEMA)
