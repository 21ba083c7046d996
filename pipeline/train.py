"""Teach one model: a plan of every step's examples, made from the seed, then Keras' fit over it."""

import json
import os
import platform
import resource
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from tqdm import tqdm

from pipeline import data, tasks
from pipeline import model as network
from pipeline.checkpoint import Checkpoint
from pipeline.config import Config, Recipe
from pipeline.errors import BadInput

LOGS = Path("logs")  # ignored by git and DVC: what differs from one run to the next, TensorBoard's files among it
BATCH = 1000  # examples at a time where nothing is learnt
OnReport = Callable[[int, dict[str, float]], None]


def lesson_plan(recipe: Recipe, examples: int, stride: int, rng: np.random.Generator) -> np.ndarray:
    """Which examples each step learns from: int32 (steps, batch), rows of the training part.

    fixed: the rows in their order, again and again; shuffled: every pass in a new order; walk: from one of the first
    rows on, each `stride` rows after the last, and anew past the end. A batch may span two passes.
    """
    wanted = recipe.steps * recipe.batch
    if recipe.order == "walk":
        walked: list[int] = []
        row = examples
        while len(walked) < wanted:
            if row >= examples:
                row = int(rng.integers(min(stride + 1, examples)))
            walked.append(row)
            row += stride
        rows = np.array(walked)
    else:
        passes = -(-wanted // examples)
        order = rng.permutation if recipe.order == "shuffled" else np.arange
        rows = np.concatenate([order(examples) for _ in range(passes)])[:wanted]
    return rows.astype(np.int32).reshape(recipe.steps, recipe.batch)


class Report(keras.callbacks.Callback):  # type: ignore[misc]  # Keras has no types
    """A line and a row of the history every `recipe.report` steps, which is an epoch here; the last may come early."""

    def __init__(self, recipe: Recipe, show: Callable[[int], str], last_batch: Callable[[int], Any], tell: OnReport):
        super().__init__()
        self.recipe, self.show, self.last_batch, self.tell = recipe, show, last_batch, tell
        self.rows: list[dict[str, float]] = []
        self.step = 0

    def on_train_begin(self, logs: dict[str, float] | None = None) -> None:
        # A terminal gets a moving bar; a file or pipe only the lines.
        self.bar = tqdm(total=self.recipe.steps, initial=self.step, unit="step", disable=None, leave=False)

    def on_train_batch_end(self, batch: int, logs: dict[str, float] | None = None) -> None:
        step = len(self.rows) * self.recipe.report + batch + 1
        self.bar.update(step - self.step)
        self.step = step
        if step >= self.recipe.steps:
            self.model.stop_training = True

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        figures = {name: float(value) for name, value in (logs or {}).items()}
        batch_accuracy = float(self.last_batch(self.step))
        row: dict[str, float] = {"step": self.step, "loss": figures["loss"], "accuracy": figures["accuracy"]}
        row["batch_accuracy"] = batch_accuracy
        line = "step {step:>6}  loss {loss:.4f}  accuracy {accuracy:.4f}  last batch {batch_accuracy:.4f}".format(**row)
        if self.recipe.monitor != "none":
            row |= {"monitor_loss": figures["val_loss"], "monitor_accuracy": figures["val_accuracy"]}
            line += f"  {self.recipe.monitor} {figures['val_accuracy']:.4f}"
        self.rows.append(row)
        tqdm.write(line + self.show(self.step))
        self.tell(self.step, row)

    def on_train_end(self, logs: dict[str, float] | None = None) -> None:
        self.bar.close()


def machine() -> dict[str, Any]:
    """The device that will train, whether cuDNN's LSTM will serve, and the versions that the bits hang on."""
    gpus = tf.config.list_physical_devices("GPU")
    device = f"CPU ({os.cpu_count()} cores, {platform.machine()})"
    if gpus:
        device = tf.config.experimental.get_device_details(gpus[0]).get("device_name", "GPU")
    return {
        "device": device,
        "cudnn": bool(gpus),
        "python": platform.python_version(),
        "tensorflow": tf.__version__,
        "keras": keras.__version__,
        "numpy": np.__version__,
    }


def state(model: keras.Model) -> list[keras.Variable]:
    """All that a training changes: weights, the dropouts' random states, the optimizer's memory."""
    return [*(variable for layer in model.layers for variable in layer.variables), *model.optimizer.variables]


def run(name: str, config: Config, tell: OnReport = lambda step, row: None) -> dict[str, Any]:
    """Train model `name` on data/split/TASK; write its weights and history.csv.

    `tell(step, figures)` hears of every report as it is made. What comes back is what no output may hold, since it
    differs from one run to the next: device, versions, seconds, peak_memory_mib.
    """
    import pandas as pd

    spec, recipe = config.model(name), config.lesson(name)
    task = tasks.load(spec.task)
    examples = data.load_examples(data.SPLIT / spec.task)
    codes, classes = examples.part("train")
    shape = examples.card.shape
    keras.utils.clear_session()  # layers are numbered from one again, as in a process of their own
    keras.utils.set_random_seed(config.seed)
    tf.config.experimental.enable_op_determinism()
    where = machine()
    print(f"{name}: {recipe.steps} steps of {recipe.batch} from {len(codes)} examples, {config.recipe} recipe")
    decides: dict[str, Any] = {"task": spec.task, "network": spec.network.model_dump(), "recipe": recipe.model_dump()}
    decides |= {"seed": config.seed, "machine": where}
    decides |= {file: data.md5(data.SPLIT / spec.task / file) for file in ("examples.parquet", "card.json")}
    checkpoint = Checkpoint(name, decides)
    print(f"on {where['device']}; cuDNN's LSTM {'serves' if where['cudnn'] else 'does not serve: no GPU answers'}")

    model = network.build(spec.network, shape, len(examples.card.labels), recipe.initial)
    model.compile(
        network.optimizer(recipe),
        network.loss(recipe, len(examples.card.labels)),
        metrics=[keras.metrics.SparseCategoricalAccuracy(name="accuracy")],
        steps_per_execution=_steps_at_once(recipe),
        jit_compile=False,  # on CPUs slower than plain graphs for these LSTMs
    )
    model.optimizer.build(model.trainable_variables)
    plan = lesson_plan(recipe, len(codes), shape[0] + 1, np.random.default_rng(config.seed))
    x, y = tf.constant(task.features(codes, shape)), tf.constant(classes.astype(np.int32))

    def batch_accuracy(step: int) -> float:
        rows = plan[step - 1]
        said = np.argmax(model(tf.gather(x, rows), training=False), axis=1)
        return float(np.mean(said == classes[rows]))

    def show(step: int) -> str:
        if recipe.order != "walk":
            return ""
        row = plan[step - 1, 0]
        said = int(np.argmax(model(x[row : row + 1], training=False)))
        labels = examples.card.labels
        return f"  [{task.write(codes[row], labels)}] -> [{labels[said]}], the text has [{labels[classes[row]]}]"

    report = Report(recipe, show, batch_accuracy, tell)
    before = _go_on(model, report, checkpoint)  # seconds
    started = time.monotonic()

    def seconds() -> float:
        return before + time.monotonic() - started

    def keep(epoch: int, logs: dict[str, float]) -> None:
        notes = {"step": report.step, "rows": report.rows, "seconds": seconds()}
        checkpoint.save([variable.numpy() for variable in state(model)], notes)

    if report.step < recipe.steps:
        rest = tf.data.Dataset.from_tensor_slices(plan[report.step :])
        model.fit(
            rest.map(lambda rows: (tf.gather(x, rows), tf.gather(y, rows))).prefetch(2),
            initial_epoch=len(report.rows),
            epochs=-(-recipe.steps // recipe.report),
            steps_per_epoch=recipe.report,
            validation_data=_monitored(recipe, examples, task),
            callbacks=[
                report,
                keras.callbacks.LambdaCallback(on_epoch_end=keep),
                keras.callbacks.TensorBoard(LOGS / name / "tensorboard", write_graph=False),
            ],
            shuffle=False,  # the plan has done it
            verbose=0,
        )
    folder = data.MODELS / name
    if not all(np.isfinite(value).all() for value in model.get_weights()):
        checkpoint.remove()
        raise BadInput(f"{name}: the weights grew past all numbers; lower models.{name}.{config.recipe}.rate.")
    data.write_whole(folder / "model.weights.h5", model.save_weights)
    data.write_csv(pd.DataFrame(report.rows), folder / "history.csv")
    checkpoint.remove()
    print(f"{name}: trained in {seconds():.0f} s, {json.dumps(report.rows[-1])}")
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    return where | {"seconds": round(seconds(), 2), "peak_memory_mib": memory}


def _go_on(model: keras.Model, report: Report, checkpoint: Checkpoint) -> float:
    """Set the training to the checkpoint's state, if there is one; the seconds that it had taken by then."""
    kept = checkpoint.load()
    if kept is None:
        return 0.0
    arrays, notes = kept
    for variable, array in zip(state(model), arrays, strict=True):
        variable.assign(array)
    report.rows, report.step = notes["rows"], notes["step"]
    for row in report.rows:
        report.tell(int(row["step"]), row)
    print(f"going on from step {report.step}, where this training was stopped")
    return float(notes["seconds"])


def _steps_at_once(recipe: Recipe) -> int:
    """Steps inside one graph call: as many as divide both the report and the whole, 50 at the most."""
    both = np.gcd(recipe.report, recipe.steps)
    return max(n for n in range(1, 51) if both % n == 0)


def _monitored(recipe: Recipe, examples: data.Examples, task: tasks.Task) -> tf.data.Dataset | None:
    if recipe.monitor == "none":
        return None
    codes, classes = examples.part(recipe.monitor)
    if not len(codes):
        raise BadInput(f"{examples.card.task} has no {recipe.monitor} part to monitor; set monitor: none.")
    x = task.features(codes, examples.card.shape)
    return tf.data.Dataset.from_tensor_slices((x, classes.astype(np.int32))).batch(BATCH)
