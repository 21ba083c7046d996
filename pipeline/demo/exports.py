"""The exported models, each opened once, and what one makes of an input."""

import logging
from dataclasses import dataclass

import numpy as np

from pipeline.errors import PipelineError
from pipeline.inference import predict
from pipeline.inference.explain import Explanation, explain
from pipeline.inference.predict import Failure, Options, Prediction, Predictor
from pipeline.tasks.inputs import UserInput

TOP = 5  # classes of an answer that are shown

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Answer(Explanation):
    """A prediction, with what happened at each step."""

    prediction: Prediction
    image: np.ndarray | None  # uint8 (rows, columns): what the model saw, if that is a picture


class Exports:
    """The exported models of the project in whose folder the program was started."""

    def __init__(self) -> None:
        """Open them; a damaged one is left out with a warning. Raises PipelineError if there is none."""
        self.root, names = predict.exports()
        self._opened: dict[str, Predictor] = {}
        for name in names:
            try:
                self._opened[name] = predict.load(name)
            except PipelineError as error:
                log.warning("%s is left out: %s", name, error)
        if not self._opened:
            raise PipelineError("every exported model is damaged; run `dvc repro --force` to make them again.")

    @property
    def names(self) -> list[str]:
        """The models, sorted."""
        return list(self._opened)

    def of_task(self, task: str) -> list[str]:
        """The models of one task, sorted."""
        return [name for name, predictor in self._opened.items() if predictor.info.task == task]

    def open(self, name: str) -> Predictor:
        """One model. Raises PipelineError if it is not there."""
        if name not in self._opened:
            raise PipelineError(f"there is no model {name!r} on this page; use one of {', '.join(self.names)}.")
        return self._opened[name]

    def answer(self, name: str, given: UserInput) -> Answer:
        """What a model makes of one input. Raises PipelineError if that is not valid."""
        predictor = self.open(name)
        (result,) = predictor.predict([given], Options(words=1, top=TOP))
        if isinstance(result, Failure):
            raise PipelineError(result.error)
        image = predictor.image(result) if predictor.reads_files else None
        return Answer(**vars(explain(predictor, given)), prediction=result, image=image)
