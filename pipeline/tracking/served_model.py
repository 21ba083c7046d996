"""What a packaged model predicts, loaded by `mlflow.pyfunc.load_model` or served by `mlflow models serve`.

MLflow imports this module from the copy of `pipeline` in the package: nothing is pickled.
"""

import base64
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from mlflow.exceptions import MlflowException

from pipeline.errors import PipelineError
from pipeline.inference import predict
from pipeline.paths import ModelPaths

SEQUENCE = "sequence"  # the column of features
EXPECTED = f"a column `{SEQUENCE}` of (steps, features)"
NOT_BASE64 = {"error": "the input is not base64; encode the file, as `base64 FILE` does."}


class ServedModel:
    """The predictor of `pipeline predict`, for what a person writes and for arrays."""

    def __init__(self, folder: Path):
        names = ModelPaths(folder.name)
        self._predictor = predict.open_export(folder.name, folder / names.onnx.name, folder / names.info.name)

    def predict(self, model_input: Any, params: dict[str, Any] | None = None) -> Any:
        """For a list of inputs, an object for each: label, probability and top, or the error of an invalid one.

        An input is a text; for pictures, a file in base64. MLflow makes a table of them. `params` are those of
        `predict.Options`. For a table with a column `sequence`, features (steps, features) in each row, the result is
        {"probabilities": float32 (batch, classes)}.
        """
        try:
            if isinstance(model_input, pd.DataFrame) and SEQUENCE in model_input:
                return {"probabilities": self._predictor.probabilities(_features(model_input[SEQUENCE]))}
            return self._predictions([str(text) for text in np.ravel(np.asarray(model_input))], params or {})
        except PipelineError as error:
            raise MlflowException.invalid_parameter_value(str(error)) from None

    def _predictions(self, texts: list[str], params: dict[str, Any]) -> list[dict[str, Any]]:
        inputs = [_content(text) for text in texts] if self._predictor.reads_files else texts
        valid = [given for given in inputs if given is not None]
        results = iter(self._predictor.predict(valid, predict.Options(**params)))
        return [NOT_BASE64 if given is None else next(results).content() for given in inputs]


def _features(examples: Any) -> np.ndarray:
    try:
        return np.asarray([*examples], np.float32)  # of a table, a column of nested lists
    except (TypeError, ValueError):
        raise PipelineError(f"the features are no array of numbers; pass {EXPECTED}.") from None


def _content(text: str) -> bytes | None:
    """The file that a text in base64 holds; None if it is none. No path is opened."""
    try:
        return base64.b64decode(text, validate=True)
    except ValueError:  # not base64, or not even ASCII
        return None


def _load_pyfunc(folder: str) -> ServedModel:
    """What MLflow calls, by this name, with the folder of the package's data, which has the model's name."""
    return ServedModel(Path(folder))
