"""Train one model on several workers that Ray starts; the files come back as if they had been trained here."""

import re
import tempfile
import threading
from queue import Empty
from typing import Any

from ray import train as ray_train
from ray.train.tensorflow import TensorflowTrainer
from ray.util.queue import Queue

from pipeline.cluster import nodes, plan, worker
from pipeline.config import ModelSetup
from pipeline.errors import PipelineError, printable, shortened
from pipeline.files import md5_of, write_bytes
from pipeline.lineage import dvc
from pipeline.paths import CHECKPOINTS, PARAMS, ModelPaths, stage


def train(setup: ModelSetup, workers: int, address: str | None, gpus: float) -> None:
    """Train with so many workers, write what they trained into the workspace, and tell DVC.

    Raises PipelineError if a worker is lost: the next call goes on from the last log.
    """
    shipment = plan.shipment(setup)
    with nodes.connected(address):
        nodes.require_room_for_workers(workers, gpus)
        outbox = Queue(actor_options={"num_cpus": 0, "scheduling_strategy": nodes.this_node()})
        paths = ModelPaths(setup.name)
        files = [paths.weights.name, paths.history.name, paths.manifest.name]
        config = {
            "shipment": shipment,
            "outbox": outbox,
            "model": setup.name,
            "params": PARAMS.read_text(encoding="utf-8"),
            "checkpoints": {path.name: path.read_bytes() for path in CHECKPOINTS.glob(f"{setup.name}-*.npz")},
            "folder": str(paths.folder),
            "files": files,
        }
        with tempfile.TemporaryDirectory(prefix="lstm-pipeline-") as storage, _Receiver(outbox, setup.name) as receiver:
            trainer = TensorflowTrainer(
                worker.train_share,
                train_loop_config=config,
                scaling_config=ray_train.ScalingConfig(
                    num_workers=workers, use_gpu=gpus > 0, resources_per_worker={"CPU": 1, "GPU": gpus}
                ),
                run_config=ray_train.RunConfig(name=setup.name, storage_path=storage),
            )
            try:
                trainer.fit()
            except Exception as error:  # Ray's own have no common class
                said = re.search(r"\berror: .+", str(error))  # by a worker
                reason = shortened(printable(said[0]) if said else type(error).__name__, 200)
                raise PipelineError(
                    f"{setup.name}: a worker failed or was lost ({reason}); give the same command again: the training "
                    "resumes from its last log."
                ) from None
    if receiver.end is None:
        raise PipelineError(f"{setup.name}: the first worker sent nothing; give the same command again.")
    _write(setup, receiver.end, files)
    for path in CHECKPOINTS.glob(f"{setup.name}-*.npz"):
        path.unlink()
    dvc.commit(stage("train", setup.name))


def _write(setup: ModelSetup, end: dict[str, dict[str, bytes]], files: list[str]) -> None:
    """Write the files of the model by these names, and the note of its weights. What came by other names is left."""
    paths = ModelPaths(setup.name)
    note = md5_of(end["files"][paths.weights.name])
    for name in files:
        write_bytes(end["files"][name], paths.folder / name)
    if f"{note}.json" in end["notes"]:
        write_bytes(end["notes"][f"{note}.json"], paths.training_note(note))


class _Receiver:
    """Takes what the first worker sends, in a thread: checkpoints of the model, which it writes, and the end."""

    def __init__(self, outbox: Any, model: str):
        self.end: dict[str, dict[str, bytes]] | None = None
        self._checkpoint = re.compile(rf"{re.escape(model)}-[0-9a-f]{{32}}\.npz")
        self._outbox, self._stop = outbox, threading.Event()
        self._thread = threading.Thread(target=self._receive)

    def __enter__(self) -> "_Receiver":
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._stop.set()
        self._thread.join()

    def _receive(self) -> None:
        while True:
            stopped = self._stop.is_set()
            try:
                kind, content = self._outbox.get(timeout=0.5)
            except Empty:
                if stopped:
                    return
                continue
            if kind == "end":
                self.end = content
                continue
            for name, data in content.items():
                if self._checkpoint.fullmatch(name):
                    write_bytes(data, CHECKPOINTS / name)
