"""Train one model on several workers that Ray starts; the files come back as if they had been trained here."""

import re
import tempfile
from typing import Any

from ray import train as ray_train
from ray.train.tensorflow import TensorflowTrainer

from pipeline.cluster import nodes, plan, worker
from pipeline.cluster.outbox import Outbox
from pipeline.config import ModelSetup
from pipeline.errors import PipelineError, printable, shortened
from pipeline.files import fits, md5_of, write_bytes
from pipeline.lineage import dvc
from pipeline.paths import CHECKPOINTS, PARAMS, stage
from pipeline.training import keys


def train(setup: ModelSetup, workers: int, cluster: nodes.Cluster, gpus: float) -> None:
    """Train with so many workers, write what they trained into the workspace, and tell DVC.

    Raises PipelineError if a worker is lost: the next call goes on from the last checkpoint.
    """
    shipment = plan.shipment(setup)
    trained: dict[str, dict[str, bytes]] = {}

    def receive(kind: str, content: dict[str, Any]) -> None:
        if kind == "end":
            trained.update(content)
        else:
            _write_checkpoints(setup, content)

    checkpoints = f"{setup.name}-{'[0-9a-f]' * 32}.npz"  # no other model's, whose name begins with this one's
    with nodes.connected(cluster):
        nodes.require_room_for_workers(workers, gpus)
        outbox = Outbox(receive)
        paths = setup.paths
        files = [paths.weights.name, paths.logits.name, paths.history.name, paths.manifest.name]
        config = {
            "shipment": shipment,
            "outbox": outbox.queue,
            "model": setup.name,
            "params": PARAMS.read_text(encoding="utf-8"),
            "checkpoints": {path.name: path.read_bytes() for path in CHECKPOINTS.glob(checkpoints)},
            "folder": str(paths.folder),
            "files": files,
            "keys": keys.make(),  # for the gradients, of this training alone
        }
        with tempfile.TemporaryDirectory(prefix="lstm-pipeline-") as storage, outbox.drained():
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
                    "resumes from its last checkpoint."
                ) from None
    if not fits(trained, {"files": dict.fromkeys(files, bytes), "provenances": dict[str, bytes]}):
        raise PipelineError(f"{setup.name}: what the first worker sent is damaged; give the same command again.")
    _write(setup, trained, files)
    for path in CHECKPOINTS.glob(checkpoints):
        path.unlink()
    dvc.commit(stage("train", setup.name))


def _write_checkpoints(setup: ModelSetup, sent: dict[str, bytes]) -> None:
    """Write the checkpoints of the model. What came by other names is left."""
    for name, content in sent.items() if fits(sent, dict[str, bytes]) else ():
        if re.fullmatch(rf"{re.escape(setup.name)}-[0-9a-f]{{32}}\.npz", name):
            write_bytes(content, CHECKPOINTS / name)


def _write(setup: ModelSetup, trained: dict[str, dict[str, bytes]], files: list[str]) -> None:
    """Write the files by these names, and the provenance of the weights. What came by other names is left."""
    paths = setup.paths
    weights = md5_of(trained["files"][paths.weights.name])
    for name in files:
        write_bytes(trained["files"][name], paths.folder / name)
    if f"{weights}.json" in trained["provenances"]:
        write_bytes(trained["provenances"][f"{weights}.json"], paths.provenance(weights))
