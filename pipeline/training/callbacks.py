"""What a training logs, for the terminal, history.csv, TensorBoard and MLflow."""

import logging
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf
from tqdm import tqdm

from pipeline.errors import shortened
from pipeline.recipe import OnReport, Recipe

log = logging.getLogger(__name__)


class History(keras.callbacks.Callback):  # type: ignore[misc]  # Keras has no types
    """A row for every `recipe.log_every` steps, which Keras calls an epoch here; the last may be shorter.

    `last_batch(step)` is the accuracy on the batch of a step, and one example of it as text.
    """

    def __init__(
        self,
        recipe: Recipe,
        steps: int,
        last_batch: Callable[[int], tuple[float, str]],
        on_report: OnReport,
    ):
        super().__init__()
        self.recipe, self.steps, self.on_report = recipe, steps, on_report
        self.last_batch = last_batch
        self.rows: list[dict[str, float]] = []
        self.step = 0

    def restore(self, rows: list[dict[str, float]], step: int) -> None:
        """Continue after the rows of a checkpoint; listeners receive them again."""
        self.rows, self.step = rows, step
        for row in rows:
            self.on_report(row)

    def on_train_begin(self, logs: dict[str, float] | None = None) -> None:
        """Show a progress bar in a terminal; a file or a pipe gets the lines alone."""
        self.bar = tqdm(total=self.steps, initial=self.step, unit="step", disable=None, leave=False)

    def on_train_batch_end(self, batch: int, logs: dict[str, float] | None = None) -> None:
        """Advance the bar, and stop after the last step."""
        step = len(self.rows) * self.recipe.log_every + batch + 1
        self.bar.update(step - self.step)
        self.step = step
        if step >= self.steps:
            self.model.stop_training = True

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Add a row, print it, and pass it on."""
        batch_accuracy, sample = self.last_batch(self.step)
        row = self._row({name: float(value) for name, value in (logs or {}).items()}, batch_accuracy)
        self.rows.append(row)
        tqdm.write("  ".join(filter(None, [self._line(row), sample])))
        self.on_report(row)

    def on_train_end(self, logs: dict[str, float] | None = None) -> None:
        """Remove the bar."""
        self.bar.close()

    def _row(self, metrics: dict[str, Any], batch_accuracy: float) -> dict[str, float]:
        row = {"step": self.step, "loss": metrics["loss"], "accuracy": metrics["accuracy"]}
        row["batch_accuracy"] = batch_accuracy
        if monitor := self.recipe.monitor:
            row |= {f"{monitor}_loss": metrics["val_loss"], f"{monitor}_accuracy": metrics["val_accuracy"]}
        return row

    def _line(self, row: dict[str, float]) -> str:
        line = "step {step:>6}  loss {loss:.4f}  accuracy {accuracy:.4f}  last batch {batch_accuracy:.4f}".format(**row)
        if monitor := self.recipe.monitor:
            line += f"  {monitor} {row[f'{monitor}_accuracy']:.4f}"
        return line


class TensorBoard:
    """Writes each row of the history as TensorBoard's scalars. What the folder holds is replaced.

    A disk that is full or may not be written to becomes one warning: it does not stop a training.
    """

    def __init__(self, folder: Path):
        self._folder, self._failed = folder, False
        self._writer: Any = None

    def __call__(self, row: dict[str, float]) -> None:
        """Write one row."""
        if self._failed:
            return
        try:
            self._write(row)
        except (OSError, tf.errors.OpError) as error:
            self._failed = True
            log.warning("TensorBoard's files in %s could not be written: %s", self._folder, shortened(str(error), 200))

    def _write(self, row: dict[str, float]) -> None:
        if self._writer is None:
            shutil.rmtree(self._folder, ignore_errors=True)  # a training that resumes reports its rows again
            self._writer = tf.summary.create_file_writer(str(self._folder))
        with self._writer.as_default(int(row["step"])):
            for name in row.keys() - {"step"}:
                tf.summary.scalar(name, row[name])
        self._writer.flush()
