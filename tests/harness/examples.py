"""Examples and predictions that a test makes, or asks for."""

import numpy as np

from pipeline import tasks
from pipeline.dataset import DatasetInfo, Examples, binary, numbers
from pipeline.predictions import Predictions, Totals


def info_of(**splits: int) -> DatasetInfo:
    """The info of a dataset of strings of two bits with splits of these sizes, all of them stored."""
    return DatasetInfo("bits", "bits-2", False, (2, 1), ["0", "1", "2"], "test", False, "", splits)


def evaluated(examples: Examples) -> tuple[np.ndarray, np.ndarray]:
    """The encoded examples and the targets of the evaluated split, also of one that is not stored."""
    info = examples.info
    if not info.implicit_split:
        return examples.split(info.eval_split)
    untrained = np.setdiff1d(np.arange(sum(info.splits.values())), numbers(examples.encoded))
    codes = binary(untrained, info.shape[0])
    of_prefixes = tasks.load(info.task).step_targets
    assert of_prefixes is not None
    return codes, of_prefixes(codes, info)[:, -1]


def predictions(
    info: DatasetInfo,
    encoded: np.ndarray,
    targets: np.ndarray,
    predicted: np.ndarray,
    probability: np.ndarray | None = None,
) -> Predictions:
    """Predictions with their totals. By default each has a probability of 1; other classes have none."""
    targets, predicted = targets.astype(np.int32), predicted.astype(np.int32)
    probability = np.ones(len(targets), np.float32) if probability is None else probability.astype(np.float32)
    probabilities = np.zeros((len(targets), len(info.class_names)), np.float32)
    probabilities[np.arange(len(targets)), predicted] = probability
    return Predictions(info, encoded, targets, predicted, probability, Totals.of(targets, probabilities))
