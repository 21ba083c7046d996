"""Train one model: a schedule of every step's examples, drawn from the seed, then Keras' `fit` over it."""

import math
import time
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
from pipeline.recipe import OnReport
from pipeline.training import distributed, environment
from pipeline.training.augment import transform
from pipeline.training.batches import Schedule, evaluation_batches, training_batches
from pipeline.training.callbacks import History, TensorBoard
from pipeline.training.channel import LostError
from pipeline.training.checkpoint import Checkpoint, fingerprint, watched
from pipeline.training.distributed import Workers

MONITOR_BATCH = 1000  # examples
REWRITE = 1.0  # seconds between two states on the disk: of history.csv while it grows, and of the checkpoint


def run(setup: ModelSetup, on_report: OnReport = lambda row: None) -> dict[str, Any]:
    """Prepare the data, compile the network, fit it, save its weights and its history.

    `on_report` is called with each row of the history. Returns what no output may hold, since it differs from
    one run to the next: device, versions, seconds, peak_memory_mib.
    """
    environment.make_deterministic(setup.seed)
    examples = load_examples(setup.task.paths)
    setup.require_fit(examples.outline)
    workers = distributed.from_environment(setup.recipe)
    where = environment.describe(setup.network, setup.recipe)
    if workers.number > 1:
        where["workers"] = workers.number
    training = Training(setup, examples, workers, where, on_report)
    epochs = training.steps * setup.recipe.batch_size / len(training.encoded)
    print(
        f"{setup.name}: {training.steps} steps of {setup.recipe.batch_size} from {len(training.encoded)} examples, "
        f"{epochs:.3g} epochs"
    )
    print(f"recipe {setup.recipe_name}, on {where['device']}; cuDNN is {'' if where['cudnn'] else 'not '}used")
    workers.connect(training.facts)
    try:
        seconds = training.fit()
        if workers.number > 1:
            workers.require_equal(training.model.get_weights())
    except tf.errors.ResourceExhaustedError:
        raise PipelineError(
            f"{setup.name}: the device has too little memory for this training; lower the recipe's batch_size, or use "
            "fewer units."
        ) from None
    except (tf.errors.OpError, LostError) as error:
        if workers.number == 1:
            raise
        raise PipelineError(
            f"{setup.name}: another worker was lost ({type(error).__name__}); start all workers again: the training "
            "resumes from its last checkpoint."
        ) from None
    if workers.chief:
        training.save()
    print(f"{setup.name}: trained in {seconds:.0f} s")
    return where | {"seconds": round(seconds, 2), "peak_memory_mib": environment.peak_memory_mib()}


def is_chief(setup: ModelSetup) -> bool:
    """Whether this process writes the files: it trains alone, or it is the first of several workers."""
    return distributed.from_environment(setup.recipe).chief


class Training:
    """One training of a model: its data, its network, and the rows of its history so far."""

    def __init__(
        self, setup: ModelSetup, examples: Examples, workers: Workers, where: dict[str, Any], on_report: OnReport
    ):
        """`where` is the environment that the bits of the weights depend on."""
        self.setup, self.recipe, self.workers = setup, setup.recipe, workers
        self.examples, self.info = examples, examples.info
        self.encoded, self.targets = self._split("train")
        self.steps = self.recipe.total_steps(len(self.encoded))
        # A walk goes on by one window and its target, so that no token is read twice.
        stride = self.info.shape[0] + 1
        self.schedule = Schedule(self.recipe, self.steps, len(self.encoded), stride, setup.seed)
        self.model = self._compile()
        self._logits = tf.function(lambda features: self.model(features, training=False))
        self.checkpoint = Checkpoint(setup.name, self._fingerprint(environment=where))
        self._on_report, self._write_events = on_report, TensorBoard(setup.paths.events(self.checkpoint.fingerprint))
        self.history = History(self.recipe, self.steps, self._last_batch, self._report)
        # Plots are live. A history beside older weights stays theirs until the end; DVC removes both first.
        self._rewrite_at = time.monotonic() if not setup.paths.weights.exists() else math.inf

    def fit(self) -> float:
        """Train from the checkpoint, or from the beginning; return the seconds that all of it took.

        Raises PipelineError if the weights are no finite numbers at the end.
        """
        recipe, history = self.recipe, self.history
        started = time.monotonic() - self._resume()
        due = started

        def save(epoch: int, logs: dict[str, float]) -> None:
            nonlocal due
            if time.monotonic() < due and history.step < self.steps:
                return
            due = time.monotonic() + REWRITE
            progress = {"step": history.step, "rows": history.rows, "seconds": time.monotonic() - started}
            if self.workers.chief:
                self.checkpoint.save([variable.numpy() for variable in self._state], progress)

        if history.step < self.steps:
            self.model.fit(
                self._batches(history.step),
                initial_epoch=len(history.rows),
                epochs=-(-self.steps // recipe.log_every),
                steps_per_epoch=recipe.log_every,
                validation_data=self._monitored(),
                callbacks=[
                    *([distributed.OfWholeBatches(self.workers, recipe)] if self.workers.number > 1 else []),
                    history,
                    keras.callbacks.LambdaCallback(on_epoch_end=save),
                ],
                shuffle=False,  # the schedule is shuffled
                verbose=0,
            )
        if not all(np.isfinite(value).all() for value in self.model.get_weights()):
            self.checkpoint.remove()
            raise PipelineError(
                f"{self.setup.name}: training diverged (NaN or Inf in the weights); lower "
                f"models.{self.setup.name}.recipes.{self.setup.recipe_name}.learning_rate."
            )
        return time.monotonic() - started

    def save(self) -> None:
        """Write the weights, logits, the history and their manifest; forget the checkpoint."""
        paths, logits = self.setup.paths, self._reference_logits()
        write_atomic(paths.weights, self.model.network.save_weights)
        write_atomic(paths.logits, lambda path: np.save(path, logits, allow_pickle=False))
        self._write_history()
        manifest.write(paths.folder, [paths.weights, paths.logits, paths.history])
        self.checkpoint.remove()

    def _write_history(self) -> None:
        write_csv(pd.DataFrame(self.history.rows), self.setup.paths.history)

    def _reference_logits(self) -> np.ndarray:
        """What the network says of the reference examples after their last step: float32 (examples, classes)."""
        tf.config.experimental.enable_tensor_float_32_execution(False)  # which GPUs use to train faster
        network = self._network(every_step=False)
        network.set_weights(self.model.network.get_weights())
        encoded, targets = self.examples.reference
        batches = evaluation_batches(encoded, targets, self._features, MONITOR_BATCH)
        return np.concatenate([network(features, training=False).numpy() for features, _ in batches])

    def _split(self, name: str) -> tuple[np.ndarray, np.ndarray]:
        """Encoded examples (examples, code) and targets: (examples,), or (examples, steps) if each step has its own."""
        encoded, targets = self.examples.split(name)
        if self.recipe.supervise == "every-step":
            of_prefixes = self.setup.task.step_targets
            repeated = np.broadcast_to(targets[:, None], (len(targets), self.info.shape[0]))
            targets = of_prefixes(encoded, self.info) if of_prefixes else repeated
        return encoded, targets

    def _features(self, encoded: np.ndarray) -> np.ndarray:
        return self.setup.task.features(encoded, self.info)

    def _network(self, every_step: bool) -> keras.Model:
        info, setup = self.info, self.setup
        return keras_network.build(setup.network, self.recipe, info.shape, len(info.class_names), every_step)

    def _compile(self) -> keras.Model:
        recipe = self.recipe
        network = self._network(every_step=recipe.supervise == "every-step")
        model = keras_network.InHalves(network)
        model.compile(
            self.workers.optimizer(recipe, loss_and_optimizer.optimizer(recipe, self.steps)),
            loss_and_optimizer.loss(recipe, len(self.info.class_names)),
            metrics=[loss_and_optimizer.Accuracy(name="accuracy")],
            # Workers exchange gradients after each step.
            steps_per_execution=self._steps_per_execution() if self.workers.number == 1 else 1,
            jit_compile=False,
        )
        model.optimizer.build(network.trainable_variables)
        return model

    def _steps_per_execution(self) -> int:
        """Steps inside one call of the graph: as many as divide both the log's interval and all steps, at most 50."""
        common = np.gcd(self.recipe.log_every, self.steps)
        return max(n for n in range(1, 51) if common % n == 0)

    @property
    def facts(self) -> dict[str, str]:
        """What must be the same on all workers. Their devices may differ."""
        return environment.versions() | {"the code, data and parameters": self._fingerprint()}

    def _fingerprint(self, **more: Any) -> str:
        setup = self.setup
        inputs = {
            "task": setup.task.name,
            "network": setup.network.model_dump(),
            "recipe": setup.recipe.model_dump(),
            "seed": setup.seed,
        }
        return fingerprint(inputs | more, watched(setup.task.name))

    def _batches(self, first: int) -> tf.data.Dataset:
        """The share of this worker of the batches from step `first` on; the first step is 0."""
        batches = training_batches(self.schedule, self.encoded, self.targets, self._features, first)
        limits, seed, alone = self.recipe.augment, self.setup.seed, self.workers.number == 1
        if limits is None:
            return batches if alone else batches.map(self.workers.share)

        def augment(step: tf.Tensor, batch: tuple[tf.Tensor, tf.Tensor]) -> tuple[tf.Tensor, tf.Tensor]:
            return transform(batch[0], limits, seed, step), batch[1]

        augmented = batches.enumerate(first).map(augment)
        return (augmented if alone else augmented.map(self.workers.share)).prefetch(2)

    def _monitored(self) -> tf.data.Dataset | None:
        if self.recipe.monitor is None:
            return None
        encoded, targets = self._split(self.recipe.monitor)
        return evaluation_batches(encoded, targets, self._features, MONITOR_BATCH)

    def _report(self, row: dict[str, float]) -> None:
        if self.workers.chief:
            self._write_events(row)
            if time.monotonic() >= self._rewrite_at:
                self._write_history()
                self._rewrite_at = time.monotonic() + REWRITE
            self._on_report(row)

    def _last_batch(self, step: int) -> tuple[float, str]:
        """The accuracy on the batch of a step, and its first example as text."""
        (rows,) = self.schedule[step - 1 : step]
        logits = self._logits(tf.constant(self._features(self.encoded[rows])))
        # After the last step, where each step has its own.
        predicted, targets = (
            values.reshape(len(rows), -1)[:, -1] for values in (np.argmax(logits, axis=-1), self.targets[rows])
        )
        first = int(predicted[0]), int(targets[0])
        sample = self.setup.task.evaluation.sample_line(self.encoded[rows[0]], *first, self.info)
        return float(np.mean(predicted == targets)), sample

    @property
    def _state(self) -> list[keras.Variable]:
        """All that a training changes: weights, the random states of dropout, the optimizer's moments."""
        layers = self.model.network.layers
        return [*(variable for layer in layers for variable in layer.variables), *self.model.optimizer.variables]

    def _resume(self) -> float:
        """Restore the state of the checkpoint, if there is one; return the seconds that the training had taken."""
        saved = self.checkpoint.load() if self.workers.chief else None
        if self.workers.number > 1:
            saved = self._broadcast(saved)
        if saved is None:
            return 0.0
        arrays, progress = saved
        for variable, array in zip(self._state, arrays, strict=True):
            variable.assign(array)
        self.history.restore(progress["rows"], progress["step"])
        print(f"resuming from step {self.history.step}, where this training was stopped")
        return float(progress["seconds"])

    def _broadcast(
        self, saved: tuple[list[np.ndarray], dict[str, Any]] | None
    ) -> tuple[list[np.ndarray], dict[str, Any]] | None:
        """Send the chief's checkpoint to all workers. The others get the number of rows, not the rows."""
        rows, step = (len(saved[1]["rows"]), saved[1]["step"]) if saved else (0, 0)
        rows, step = (int(number) for number in self.workers.broadcast([np.array(rows), np.array(step)]))
        if not step:
            return None
        arrays = self.workers.broadcast(saved[0] if saved else [variable.numpy() for variable in self._state])
        return arrays, saved[1] if saved else {"rows": [{"step": 0.0}] * rows, "step": step, "seconds": 0.0}
