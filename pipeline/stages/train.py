"""Train one model: a schedule of every step's examples, drawn from the seed, then Keras' `fit` over it."""

import time
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import pandas as pd
import tensorflow as tf

from pipeline import manifest
from pipeline.config import ModelSetup
from pipeline.dataset import Examples, load_examples
from pipeline.errors import PipelineError
from pipeline.files import write_atomic
from pipeline.formats import write_csv
from pipeline.networks import keras_network, loss_and_optimizer
from pipeline.recipe import OnReport, Recipe
from pipeline.training import distributed, environment
from pipeline.training.augment import transform
from pipeline.training.batches import Features, Schedule, evaluation_batches, training_batches
from pipeline.training.callbacks import History, TensorBoard
from pipeline.training.checkpoint import Checkpoint, fingerprint, watched
from pipeline.training.distributed import Workers

MONITOR_BATCH = 1000  # examples
Saved = tuple[list[np.ndarray], dict[str, Any]]  # what a checkpoint holds


@dataclass(frozen=True)
class TrainingData:
    """What a training reads."""

    examples: Examples
    recipe: Recipe  # in steps
    encoded: np.ndarray  # (examples, code), the training split
    targets: np.ndarray  # (examples,), or (examples, steps) if every step is supervised
    schedule: Schedule  # rows of the training split for each step
    features: Features


def run(setup: ModelSetup, on_report: OnReport = lambda row: None) -> dict[str, Any]:
    """Prepare the data, compile the network, fit it, save its weights and its history.

    `on_report` is called with each row of the history. Returns what no output may hold, since it differs from
    one run to the next: device, versions, seconds, peak_memory_mib.
    """
    environment.make_deterministic(setup.seed)
    data = _prepare(setup)
    workers = distributed.from_environment(data.recipe)
    workers.connect()
    where = environment.describe() | ({"workers": workers.number} if workers.number > 1 else {})
    epochs = data.recipe.total_steps * data.recipe.batch_size / len(data.encoded)
    print(
        f"{setup.name}: {data.recipe.total_steps} steps of {data.recipe.batch_size} from {len(data.encoded)} examples, "
        f"{epochs:.3g} epochs"
    )
    print(f"recipe {setup.recipe_name}, on {where['device']}; cuDNN is {'' if where['cudnn'] else 'not '}used")
    model = _compile(setup, data, workers)
    checkpoint = _checkpoint(setup, where)
    try:
        history, seconds = _fit(model, setup, data, checkpoint, on_report, workers)
        workers.require_equal(model.get_weights())
    except tf.errors.OpError as error:
        if workers.number == 1:
            raise
        raise PipelineError(
            f"{setup.name}: another worker was lost ({type(error).__name__}); start all workers again: the training "
            "resumes from its last log."
        ) from None
    if workers.chief:
        _save(model, setup, history)
        checkpoint.remove()
    print(f"{setup.name}: trained in {seconds:.0f} s")
    return where | {"seconds": round(seconds, 2), "peak_memory_mib": environment.peak_memory_mib()}


def is_chief(setup: ModelSetup) -> bool:
    """Whether this process writes the files: it trains alone, or it is the first of several workers."""
    return distributed.from_environment(setup.recipe).chief


def _prepare(setup: ModelSetup) -> TrainingData:
    examples = load_examples(setup.task.paths)
    setup.require_fit(examples.outline)
    encoded, _ = examples.split("train")
    recipe = setup.recipe.resolve_steps(len(encoded))
    # A walk goes on by one window and its target, so that no token is read twice.
    stride = examples.info.shape[0] + 1
    schedule = Schedule(recipe, len(encoded), stride, setup.seed)

    def features(rows: np.ndarray) -> np.ndarray:
        return setup.task.features(rows, examples.info)

    return TrainingData(examples, recipe, encoded, _targets(setup, examples, "train"), schedule, features)


def _targets(setup: ModelSetup, examples: Examples, split: str) -> np.ndarray:
    """The targets (examples,) of a split, or (examples, steps) if the recipe supervises every step."""
    encoded, targets = examples.split(split)
    if setup.recipe.supervise == "every-step":
        return setup.task.step_targets(encoded, examples.info)
    return targets


def _compile(setup: ModelSetup, data: TrainingData, workers: Workers) -> keras.Model:
    recipe, info = data.recipe, data.examples.info
    classes, every_step = len(info.class_names), recipe.supervise == "every-step"
    network = keras_network.build(setup.network, recipe, info.shape, classes, every_step)
    model = keras_network.InHalves(network)
    model.compile(
        workers.optimizer(recipe, loss_and_optimizer.optimizer(recipe)),
        loss_and_optimizer.loss(recipe, classes),
        metrics=[keras.metrics.SparseCategoricalAccuracy(name="accuracy")],
        # Workers exchange gradients after each step.
        steps_per_execution=_steps_per_execution(recipe) if workers.number == 1 else 1,
        jit_compile=False,  # on CPUs, XLA is slower for these LSTMs
    )
    model.optimizer.build(network.trainable_variables)
    return model


def _checkpoint(setup: ModelSetup, where: dict[str, Any]) -> Checkpoint:
    inputs = {
        "task": setup.task.name,
        "network": setup.network.model_dump(),
        "recipe": setup.recipe.model_dump(),
        "seed": setup.seed,
        "environment": where,
    }
    return Checkpoint(setup.name, fingerprint(inputs, watched(setup.task.name)))


def _fit(
    model: keras.Model,
    setup: ModelSetup,
    data: TrainingData,
    checkpoint: Checkpoint,
    on_report: OnReport,
    workers: Workers,
) -> tuple[History, float]:
    """Train from the checkpoint, or from the beginning; return the history, and the seconds that all of it took."""
    recipe = data.recipe
    write_events = TensorBoard(setup.paths.events(checkpoint.fingerprint))

    def report(row: dict[str, float]) -> None:
        if workers.chief:
            write_events(row)
            on_report(row)

    history = _history(model, setup, data, report)
    before = _resume(model, history, checkpoint, workers)  # seconds
    started = time.monotonic()

    def seconds() -> float:
        return before + time.monotonic() - started

    def save(epoch: int, logs: dict[str, float]) -> None:
        notes = {"step": history.step, "rows": history.rows, "seconds": seconds()}
        if workers.chief:
            checkpoint.save([variable.numpy() for variable in _state(model)], notes)

    if history.step < recipe.total_steps:
        model.fit(
            _batches(setup, data, history.step, workers),
            initial_epoch=len(history.rows),
            epochs=-(-recipe.total_steps // recipe.log_every),
            steps_per_epoch=recipe.log_every,
            validation_data=_monitored(setup, data),
            callbacks=[
                *([distributed.OfWholeBatches(workers, recipe)] if workers.number > 1 else []),
                history,
                keras.callbacks.LambdaCallback(on_epoch_end=save),
            ],
            shuffle=False,  # the schedule is shuffled
            verbose=0,
        )
    if not all(np.isfinite(value).all() for value in model.get_weights()):
        checkpoint.remove()
        raise PipelineError(
            f"{setup.name}: training diverged (NaN or Inf in the weights); lower "
            f"models.{setup.name}.recipes.{setup.recipe_name}.learning_rate."
        )
    return history, seconds()


def _batches(setup: ModelSetup, data: TrainingData, first: int, workers: Workers) -> tf.data.Dataset:
    """The share of this worker of the batches from step `first` on; the first step is 0."""
    batches = training_batches(data.schedule, data.encoded, data.targets, data.features, first)
    limits = data.recipe.augment
    if limits is None:
        return batches if workers.number == 1 else batches.map(workers.share)

    def augment(step: tf.Tensor, batch: tuple[tf.Tensor, tf.Tensor]) -> tuple[tf.Tensor, tf.Tensor]:
        return transform(batch[0], limits, setup.seed, step), batch[1]

    augmented = batches.enumerate(first).map(augment)
    return (augmented if workers.number == 1 else augmented.map(workers.share)).prefetch(2)


def _history(model: keras.Model, setup: ModelSetup, data: TrainingData, on_report: OnReport) -> History:
    def predict(rows: np.ndarray) -> np.ndarray:
        logits = model(data.features(data.encoded[rows]), training=False)
        return np.asarray(np.argmax(logits, axis=-1))  # (batch,), or (batch, steps)

    def batch_accuracy(step: int) -> float:
        (rows,) = data.schedule[step - 1 : step]
        return float(np.mean(predict(rows) == data.targets[rows]))

    def sample_line(step: int) -> str:
        row = data.schedule[step - 1 : step][0, 0]
        predicted, target = predict(np.array([row])).flat[-1], data.targets[row].flat[-1]
        return setup.task.evaluation.sample_line(data.encoded[row], int(predicted), int(target), data.examples.info)

    return History(data.recipe, batch_accuracy, sample_line, on_report)


def _resume(model: keras.Model, history: History, checkpoint: Checkpoint, workers: Workers) -> float:
    """Restore the checkpoint's state, if there is one; return the seconds that the training had taken by then."""
    saved = checkpoint.load() if workers.chief else None
    if workers.number > 1:
        saved = _of_chief(model, saved, workers)
    if saved is None:
        return 0.0
    arrays, notes = saved
    for variable, array in zip(_state(model), arrays, strict=True):
        variable.assign(array)
    history.restore(notes["rows"], notes["step"])
    print(f"resuming from step {history.step}, where this training was stopped")
    return float(notes["seconds"])


def _of_chief(model: keras.Model, saved: Saved | None, workers: Workers) -> Saved | None:
    """The chief's checkpoint, on all workers, of whose rows the others need the number only."""
    rows, step = (len(saved[1]["rows"]), saved[1]["step"]) if saved else (0, 0)
    rows, step = (int(number) for number in workers.of_chief([np.array(rows), np.array(step)]))
    if not step:
        return None
    arrays = workers.of_chief(saved[0] if saved else [variable.numpy() for variable in _state(model)])
    return arrays, saved[1] if saved else {"rows": [{"step": 0.0}] * rows, "step": step, "seconds": 0.0}


def _state(model: keras.Model) -> list[keras.Variable]:
    """All that a training changes: weights, the random states of dropout, the optimizer's moments."""
    return [*(variable for layer in model.network.layers for variable in layer.variables), *model.optimizer.variables]


def _steps_per_execution(recipe: Recipe) -> int:
    """Steps inside one call of the graph: as many as divide both the log's interval and all steps, at most 50."""
    common = np.gcd(recipe.log_every, recipe.total_steps)
    return max(n for n in range(1, 51) if common % n == 0)


def _monitored(setup: ModelSetup, data: TrainingData) -> Any:
    split = setup.recipe.monitor
    if split is None:
        return None
    encoded, _ = data.examples.split(split)
    return evaluation_batches(encoded, _targets(setup, data.examples, split), data.features, MONITOR_BATCH)


def _save(model: keras.Model, setup: ModelSetup, history: History) -> None:
    write_atomic(setup.paths.weights, model.network.save_weights)
    write_csv(pd.DataFrame(history.rows), setup.paths.history)
    manifest.write(setup.paths.folder, [setup.paths.weights, setup.paths.history])
