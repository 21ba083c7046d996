"""Calibrate a trained model, export it as ONNX, and compare the file with what Keras said of the same examples."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import onnx
from onnx import checker, shape_inference

from pipeline import manifest
from pipeline.config import ModelSetup
from pipeline.dataset import Examples, load_examples, save_info
from pipeline.errors import PipelineError
from pipeline.files import damaged, draft
from pipeline.inference.calibration import fit_temperature
from pipeline.inference.onnx_session import Session, batches
from pipeline.networks import onnx_network, weights
from pipeline.paths import repro

LONGEST = 1_000_000  # steps of a sequence that a count is read from
BATCH = 1000
# Between probabilities. Each of the two adds the 512 products of a weighted sum in another order, and float32 rounds
# more where the published recipe leaves large weights: up to 1.3e-5 was measured.
TOLERANCE = 1e-4
LOGITS = "logits"  # the layer whose weights the logits are proportional to


def run(setup: ModelSetup) -> float:
    """Read the weights of a model; write model.onnx and info.json into its export folder.

    The logits are divided by a temperature, so that a probability of 90 % is right nine times of ten. Returns it.

    Raises PipelineError, and writes nothing, unless the file predicts the same class as Keras for each of the examples
    that training wrote logits of, with a probability that differs by at most 1e-4.
    """
    paths = setup.paths
    examples = load_examples(setup.task.paths)
    trained, logits = _trained(setup, examples)
    temperature = _temperature(logits, examples)
    calibrated = {**trained, LOGITS: [each / np.float32(temperature) for each in trained.get(LOGITS, ())]}
    with draft(paths.export) as folder:
        folder.mkdir()
        onnx.save(_graph(setup, examples, calibrated), file := folder / paths.onnx.name)
        session = Session(file, "dvc repro")
        sequence = setup.task.features(examples.reference[0], examples.info)
        difference = compare(session.probabilities, file.name, sequence, logits / temperature)
        parameters = sum(array.size for arrays in trained.values() for array in arrays)
        facts = {"model": setup.name, "parameters": parameters, "temperature": temperature}
        # A model that was trained to know the class after every step reads sequences of one step, too.
        # If it reads a count, which no list of classes bounds, longer ones, too.
        any_length = setup.recipe.supervise == "every-step"
        longest = LONGEST if any_length and setup.recipe.readout == "count" else None
        info = replace(examples.info, min_steps=1 if any_length else None, max_steps=longest)
        save_info(info, folder / paths.info.name, **facts)
        manifest.write_all(folder)
    print(f"{setup.name}: ONNX predicts what Keras predicts, probabilities within {difference:.1e}")
    return temperature


def compare(predict: Callable[[np.ndarray], np.ndarray], name: str, sequence: np.ndarray, logits: np.ndarray) -> float:
    """The largest difference of the probabilities of a file from those of Keras' logits (examples, classes).

    `predict` gives those of the file, whose name an error has, for a part of sequence, float32 (examples, steps,
    features).
    """
    from scipy.special import softmax

    largest = 0.0
    for rows in batches(len(sequence), BATCH):
        expected, probabilities = softmax(logits[rows], axis=1), predict(sequence[rows])
        difference = float(np.abs(probabilities - expected).max())
        if not difference <= TOLERANCE:  # as NaN is not
            classes = int((probabilities.argmax(axis=1) != expected.argmax(axis=1)).sum())
            raise PipelineError(
                f"{name} differs from the trained model: {classes} of {len(expected)} classes, and probabilities "
                f"by up to {difference:.1e}, expected at most {TOLERANCE:.0e}; please report this with the output of "
                "`pip freeze`."
            )
        largest = max(largest, difference)
    return largest


def _trained(setup: ModelSetup, examples: Examples) -> tuple[onnx_network.Weights, np.ndarray]:
    """What training wrote: weights by layer, and logits (examples, classes) of the reference examples."""
    paths, again = setup.paths, repro("train", setup.name, force=True)
    manifest.verify(paths.folder, ("train", setup.name), paths.weights.name, paths.logits.name)
    try:
        trained = weights.read(paths.weights)
    except ValueError as error:
        raise damaged(paths.weights, again, str(error)) from None
    try:
        logits = np.load(paths.logits, allow_pickle=False)
        if logits.shape != (len(examples.reference[0]), len(examples.info.class_names)) or logits.dtype != np.float32:
            raise ValueError
    except (ValueError, OSError, EOFError):
        raise damaged(paths.logits, again) from None
    return trained, logits


def _temperature(logits: np.ndarray, examples: Examples) -> float:
    """The temperature that fits the reference examples best; 1 where they are evaluated, too, as with a fable."""
    if examples.reference_split == examples.info.eval_split:
        return 1.0
    return fit_temperature(logits, examples.reference[1])


def _graph(setup: ModelSetup, examples: Examples, trained: onnx_network.Weights) -> onnx.ModelProto:
    info = examples.info
    try:
        return onnx_network.build(setup.network, setup.recipe, trained, info.shape, len(info.class_names))
    except (KeyError, ValueError, checker.ValidationError, shape_inference.InferenceError):
        raise PipelineError(
            f"{setup.paths.weights} does not fit models.{setup.name}.network; run "
            f"`{repro('train', setup.name, force=True)}` to make it again."
        ) from None
