"""Area of the campaign: functions that read a file are given random bytes, damage and values of other types."""

import io
import json
import random
import resource
from collections.abc import Callable
from contextlib import redirect_stdout
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from pipeline import config, manifest, tasks
from pipeline.dataset import load_examples, load_info
from pipeline.files import load_csv, md5
from pipeline.inference import usage
from pipeline.inference.evaluation import Store, predict_split
from pipeline.inference.onnx_session import Session
from pipeline.inference.predict import open_export
from pipeline.inference.trace import read_weights
from pipeline.lineage import dvc, exchange, provenance, signature
from pipeline.lineage.artifacts import trained_weights, workspace
from pipeline.paths import LOCK, MANIFEST, PARAMS, ModelPaths, TaskPaths
from pipeline.predictions import load_parquet
from pipeline.stages.split import check
from pipeline.training.checkpoint import Checkpoint
from tests.attack.harness import changed, judged
from tests.attack.hosts import sweep_of_one
from tests.attack.mutations import damaged, edited, retyped
from tests.harness import project
from tests.harness.signing import keys

BITS, MNIST, FABLE = project.MODELS
MOST = 1 << 20  # KiB of memory that a file may take more than all before it
LOG, CHUNK, CHECKPOINT = Path("log.jsonl"), Path("chunks/00000.chunk"), Path(f"checkpoints/{BITS}-x.npz")
CERTIFIED = "01" * 20

Read = Callable[[], Any]


@cache
def _readers() -> dict[str, tuple[Path, Read]]:
    """What reads a file, by its name; files that the project does not have are written."""
    bits, fable = ModelPaths(BITS), ModelPaths(FABLE)
    artifacts, task = workspace(BITS, "bits"), tasks.load("bits")
    examples = load_examples(TaskPaths("bits"))
    some = task.features(examples.encoded[:3], examples.info)
    project.invoke("predict", BITS, "01101010", "--log", str(LOG))
    Store(CHUNK.parent).save(0, predict_split(Session(bits.onnx, ""), task, examples))
    Checkpoint(BITS, "x").save([examples.encoded[:3]], {"step": 1})
    private, public = keys(Path())
    bits.signature.write_bytes(signature.signer(private)(bits))
    verify = signature.verifier(public)
    recorded = bits.provenance(md5(bits.weights))
    run = next(path for path in dvc.Cache().runs.glob("*/*/*") if path.is_file())
    run_name = run.relative_to(run.parents[2]).as_posix()
    return {
        "parameters": (PARAMS, config.load),
        "dvc.lock": (LOCK, dvc.lock_entries),
        "an entry of the run cache": (run, lambda: exchange.add({}, {run_name: run.read_bytes()})),
        "facts of a dataset": (fable.info, lambda: load_info(fable.info, ("export", FABLE))),
        "examples": (TaskPaths("bits").examples, lambda: load_examples(TaskPaths("bits"))),
        "a manifest": (bits.export / "manifest.json", lambda: manifest.verify(bits.export, ("export", BITS))),
        "an export": (bits.onnx, lambda: Session(bits.onnx, "again").run(some)),
        "its weights": (bits.onnx, lambda: (Session(bits.onnx, "again"), read_weights(bits.onnx))),
        "a certificate": (bits.certificate, lambda: [*open_export(BITS, bits.onnx, bits.info).predict([CERTIFIED])]),
        "metrics": (bits.metrics, artifacts.metrics),
        "a history": (bits.history, artifacts.history),
        "predictions": (bits.predictions, lambda: load_parquet(bits.predictions, "again")),
        "a table": (bits.by_class, lambda: load_csv(bits.by_class, "again", ["accuracy"], ["class"])),
        "a provenance": (recorded, lambda: provenance.load(recorded)),
        "a log of predictions": (LOG, lambda: usage.read(LOG)),
        "a chunk": (CHUNK, lambda: Store(CHUNK.parent).load(0, examples.info)),
        **_raw(),
        "a trial of a sweep": _trial(),
        "a checkpoint": (CHECKPOINT, Checkpoint(BITS, "x").load),
        "a signature": (bits.signature, lambda: verify(bits)),
        "a private key": (private, lambda: signature.signer(private)),
        "a public key": (public, lambda: signature.verifier(public)),
    }


def _raw() -> dict[str, tuple[Path, Read]]:
    """What reads the raw data of a task."""
    settings = config.load()
    found: dict[str, tuple[Path, Read]] = {}

    def read(task: config.TaskSetup) -> Read:
        return lambda: check(
            task.data.split(task.params.split, task.paths.raw, np.random.default_rng(0)), task.paths.raw
        )

    for task in map(settings.task, settings.tasks):
        files = (path for path in sorted(task.paths.raw.iterdir()) if path.name not in (MANIFEST, ".gitignore"))
        found |= {f"{path.name} of {task.name}": (path, read(task)) for path in files}
    return found


def _trial() -> tuple[Path, Read]:
    """What reads a trial that has ended."""
    from pipeline.cluster import receiver, results

    sweep, content = sweep_of_one()
    kept = results.Results(sweep)
    kept.save(receiver.receive(sweep, "attack-1", content, [{"step": 1.0, "loss": 0.5}]))
    return kept.folder / "attack-1.json", lambda: [
        (str(each), each.score, trained_weights(each.entries, BITS)) for each in kept.ended()
    ]


def readers(rng: random.Random) -> tuple[str, str]:
    """A reader given another content of its file: a sentence, or a value; it takes less than 1 GiB."""
    name = rng.choice(list(_readers()))
    path, read = _readers()[name]
    before = path.read_bytes()
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with changed(path, _other(before, path, rng)), redirect_stdout(io.StringIO()):
        wrong = judged(read)
    taken = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - memory
    return f"{name} with another content", wrong or (f"{taken >> 10} MiB of memory" if taken > MOST else "")


def _other(content: bytes, path: Path, rng: random.Random) -> bytes:
    """Random bytes, damage, or, of a text, values of other types."""
    kind = rng.choice(["random", "damaged", "damaged", "typed", "typed"])
    if kind == "random":
        return rng.randbytes(rng.choice([0, 1, 10, 1000, 100_000]))
    if kind == "typed" and path.suffix in (".json", ".jsonl", ".sig"):
        return json.dumps(retyped(json.loads(content), rng)).encode()
    if kind == "typed" and (path.suffix in (".yaml", ".lock") or ".dvc" in path.parts):
        return edited(content.decode(), rng).encode("utf-8", "replace")
    if kind == "typed" and path.suffix == ".csv":
        rows = retyped([line.split(",") for line in content.decode().splitlines()], rng)
        lines = [row if isinstance(row, list) else [row] for row in rows] if isinstance(rows, list) else []
        return "\n".join(",".join(map(str, line)) for line in lines).encode("utf-8", "replace")
    return damaged(content, rng)
