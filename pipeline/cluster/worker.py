"""A trial on a node of the cluster: the model's stages in a clean checkout, as DVC runs them.

This file travels to the nodes by value. It imports nothing of this project, which the nodes do not have.
"""

import configparser
import errno
import io
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from importlib.metadata import distributions
from pathlib import Path
from typing import Any

from ray import tune
from ruamel.yaml import YAML

LIBRARIES = ("ray", "tensorflow", "keras", "numpy", "dvc", "onnxruntime")
# Variables that do not travel.
OWN = ("RAY_", "TUNE_", "DVC_", "GIT_", "PIPELINE_", "PYTHONPATH", "OMP_NUM_THREADS", "TF_USE_LEGACY_KERAS")
FULL = os.strerror(errno.ENOSPC)
LEAVES = 10  # seconds that a node takes to leave the cluster
DVC_FAILS, INTERRUPTED = 251, 252  # the smallest status of a DVC command that failed, and that of Ctrl-C
KILLED = re.compile(r", exited with (-\d+|129|1[3-9]\d|2[0-4]\d|250)\b")  # a signal, as bash says it, or 128 more
RUNNING, FINISHED, STOPPED, FAILED = "running", "finished", "stopped", "failed"


@dataclass(frozen=True)
class Shipment:
    """What all trials of a sweep read."""

    target: str  # the stage that DVC runs, with those that it needs
    commit: str
    repository: bytes  # a tar archive: .git with this commit
    patch: bytes  # uncommitted changes
    lock: bytes  # dvc.lock
    files: dict[str, str]  # the hash of each input, by its path
    objects: dict[str, bytes]  # the content of each hash
    restore: tuple[str, ...]  # the stages that wrote the inputs
    metrics: str  # the path of the metrics that the target writes
    provenances: str  # the folder of the provenance of each training
    tracking_uri: str  # of an MLflow server; empty: none that the nodes reach


def versions() -> dict[str, str]:
    """The versions of Python and of all packages on this node; "none" for what a trial needs and is not there."""
    found = {"python": ".".join(map(str, sys.version_info[:3])), **dict.fromkeys(LIBRARIES, "none")}
    # Of two with the same name, Python imports the first.
    found |= {each.metadata["Name"].lower(): each.version for each in reversed([*distributions()])}
    found["git"] = "found" if shutil.which("git") else "none"
    return found


class Trial(tune.Trainable):  # type: ignore[misc]
    """Runs the stages of one model with the parameters of one trial; each step is a row of the training's history."""

    def setup(self, config: dict[str, Any], shipment: Shipment, outbox: Any) -> None:
        """Make the checkout and start DVC in it."""
        self._trial, self._shipment, self._outbox = config["trial"], shipment, outbox
        self._rows: list[dict[str, float]] = []
        self._folder = Path(tempfile.mkdtemp(prefix="trial-", dir=Path.cwd()))
        self._root = self._folder / "checkout"
        self._progress, self._log = self._folder / "progress.jsonl", self._folder / "log"
        try:
            check_out(shipment, self._trial["params"], self._root)
        except (OSError, subprocess.CalledProcessError) as error:  # git's, of a full disk
            shutil.rmtree(self._folder, ignore_errors=True)
            raise _lost_node(getattr(error, "strerror", None) or "git failed") from None
        progress = {"DVC_EXP_NAME": self._trial["name"], "PIPELINE_PROGRESS": str(self._progress)}
        progress["PIPELINE_SWEEP"] = self._trial["sweep"]
        self._process = start(f"dvc repro {shipment.target}", shipment, self._root, self._log, progress)

    def step(self) -> dict[str, Any]:
        """Wait for the next row of the history, or for the end."""
        while True:
            ended = self._process.poll() is not None  # before the rows are read: none comes after it
            rows = self._read_rows()
            if len(rows) > len(self._rows):
                self._rows.append(rows[len(self._rows)])
                return self._result(RUNNING)
            if ended:
                return self._end(self._process.returncode)
            time.sleep(0.2)

    def cleanup(self) -> None:
        """End the stages of a trial that is stopped, and remove its checkout."""
        import psutil

        if self._process.poll() is None:
            process = psutil.Process(self._process.pid)
            for each in [*process.children(recursive=True), process]:
                with suppress(psutil.NoSuchProcess):  # it has just ended
                    each.kill()
            self._process.wait()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _end(self, status: int) -> dict[str, Any]:
        # DVC ends with 255 where a stage fails, and its error says if a signal ended one.
        killed = status < 0 or 128 < status < DVC_FAILS or status == INTERRUPTED
        if killed or KILLED.search(_errors(self._log)):
            raise RuntimeError(f"the stages were killed (status {status})")  # Ray starts the trial again
        if status:
            if fault := node_fault(self._log):
                raise _lost_node(fault)
            return self._result(FAILED, reason=_reason(self._log))
        sent = outputs(self._root, self._shipment, pushed=push(self._root, self._shipment, self._log))
        self._outbox.put((self._trial["name"], sent))
        return self._result(FINISHED)

    def _result(self, outcome: str, **more: Any) -> dict[str, Any]:
        row = self._rows[-1] if self._rows else {"step": 0, "loss": 0.0, "accuracy": 0.0}
        score = row.get("validation_accuracy", row["accuracy"])
        share = 100 * row["step"] / self._trial["steps"]
        return {**row, "score": score, "progress": share, "outcome": outcome, "done": outcome != RUNNING, **more}

    def _read_rows(self) -> list[dict[str, float]]:
        if not self._progress.is_file():
            return []
        text = self._progress.read_text(encoding="utf-8")
        return [json.loads(line) for line in text[: text.rfind("\n") + 1].splitlines()]


def _lost_node(reason: str) -> RuntimeError:
    """A fault of the node, for which Ray starts the trial again; by then, node.py has taken the node out."""
    time.sleep(LEAVES)
    return RuntimeError(f"{socket.gethostname()}: {reason}")


def clean_environment(shipment: Shipment) -> dict[str, str]:
    """The node's environment, with this Python first, without what belongs to Ray or to another project."""
    environment = {key: value for key, value in os.environ.items() if not key.startswith(OWN)}
    environment["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"
    server = {"MLFLOW_TRACKING_URI": shipment.tracking_uri} if shipment.tracking_uri else {"PIPELINE_RECORD": "off"}
    return environment | {"DVC_NO_ANALYTICS": "1"} | server


def check_out(shipment: Shipment, params: str, root: Path) -> None:
    """The project at the shipment's commit with its patch, these parameters, and the inputs in DVC's cache."""
    root.mkdir()
    with tarfile.open(fileobj=io.BytesIO(shipment.repository)) as archive:
        archive.extraction_filter = getattr(tarfile, "data_filter", None)  # from 3.11.4 on
        archive.extractall(root)  # noqa: S202  # of the driver, whose code runs here
    git = ("git", "-c", "core.hooksPath=/dev/null", "-c", "core.autocrlf=false")
    for words, stdin in (
        (("config", "core.bare", "false"), None),
        (("checkout", "--quiet", "--force", "--detach", shipment.commit), None),
        *([(("apply", "--whitespace=nowarn", "-"), shipment.patch)] if shipment.patch else []),
    ):
        subprocess.run([*git, *words], cwd=root, input=stdin, check=True, capture_output=True)
    (root / "params.yaml").write_text(params, encoding="utf-8")
    (root / "dvc.lock").write_bytes(shipment.lock)
    local = f"[core]\n    analytics = false\n    check_update = false\n[cache]\n    dir = {root / '.dvc' / 'cache'}\n"
    (root / ".dvc" / "config.local").write_text(local)
    for hash_name, content in shipment.objects.items():
        path = root / ".dvc" / "cache" / "files" / "md5" / hash_name[:2] / hash_name[2:]
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        path.chmod(0o444)
    for name, hash_name in shipment.files.items():
        if not hash_name.endswith(".dir"):  # git holds some of them, of another commit
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).write_bytes(shipment.objects[hash_name])


def start(
    module: str, shipment: Shipment, root: Path, log: Path, environment: dict[str, str]
) -> subprocess.Popen[bytes]:
    """In a checkout, have DVC check out the inputs, then run a module with its arguments; `log` gets what they say."""
    checkout = f'"$0" -m dvc checkout --quiet {" ".join(shipment.restore)}'
    with log.open("wb") as file:
        return subprocess.Popen(
            ["sh", "-c", f'{checkout} && exec "$0" -m {module}', sys.executable],
            cwd=root,
            env=clean_environment(shipment) | {"DVC_SITE_CACHE_DIR": str(root.parent / "site")} | environment,
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
        )


def push(root: Path, shipment: Shipment, log: Path) -> frozenset[str]:
    """The hashes of the files of the stages that DVC's default remote got: if it is on the network, and takes them.

    Small ones, which git holds (`cache: false` in dvc.yaml), DVC does not push.
    """
    from dvc.repo import Repo

    config = configparser.ConfigParser()
    config.read(root / ".dvc" / "config", encoding="utf-8")
    name = config.get("core", "remote", fallback="")
    scheme, found, _ = config.get(f"'remote \"{name}\"'", "url", fallback="").partition("://")
    if not found or scheme == "file":
        return frozenset()
    model = shipment.target.partition("@")[2]
    stages = [*shipment.restore, *(f"{verb}@{model}" for verb in ("train", "export", "evaluate"))]
    if start(f"dvc push --quiet {' '.join(stages)}", shipment, root, log, {}).wait():
        return frozenset()
    with Repo(str(root)) as repo:
        return frozenset(str(out.hash_info.value) for out in repo.index.outs if out.use_cache)


def outputs(root: Path, shipment: Shipment, pushed: frozenset[str] = frozenset()) -> dict[str, Any]:
    """What the stages wrote: files by their hashes, the run cache, the entries of dvc.lock, provenance, metrics.

    Files that were pushed to DVC's remote do not travel.
    """
    cache, known = root / ".dvc" / "cache", {*shipment.objects, *pushed}
    objects = {"".join(path.parts[-2:]): path for path in _files(cache / "files" / "md5")}
    return {
        "pushed": sorted(pushed),
        "objects": {name: path.read_bytes() for name, path in objects.items() if name not in known},
        "runs": {path.relative_to(cache / "runs").as_posix(): path.read_bytes() for path in _files(cache / "runs")},
        "provenances": _provenances(root, shipment),
        "entries": YAML(typ="safe", pure=True).load((root / "dvc.lock").read_bytes())["stages"],  # parsing takes long
        "metrics": (root / shipment.metrics).read_bytes(),
    }


def _files(folder: Path) -> Iterator[Path]:
    return (path for path in sorted(folder.rglob("*")) if path.is_file())


def train_share(config: dict[str, Any]) -> None:
    """One worker of a training: `pipeline train` in a clean checkout, with the TF_CONFIG that Ray Train has set.

    The first worker sends each new checkpoint, and in the end what it wrote.
    """
    from ray import train

    folder = Path(tempfile.mkdtemp(prefix="worker-", dir=Path.cwd()))
    try:
        _train_in(folder, config, chief=train.get_context().get_world_rank() == 0)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    train.report({})


def _train_in(folder: Path, config: dict[str, Any], chief: bool) -> None:
    shipment, outbox = config["shipment"], config["outbox"]
    root, log = folder / "checkout", folder / "log"
    check_out(shipment, config["params"], root)
    for name, content in config["checkpoints"].items():
        (root / "checkpoints").mkdir(exist_ok=True)
        (root / "checkpoints" / name).write_bytes(content)
    keys = folder / "keys"
    keys.mkdir(mode=0o700)
    for name, content in config["keys"].items():
        (keys / name).write_bytes(content)
    process = start(f"pipeline train {config['model']}", shipment, root, log, {"PIPELINE_KEYS": str(keys)})
    sent: dict[Path, int] = {}
    while process.poll() is None:
        time.sleep(0.5)
        if chief:
            _send_checkpoints(root, sent, outbox)
    if process.returncode:
        raise RuntimeError(_reason(log))
    if chief:
        model = root / config["folder"]
        files = {name: (model / name).read_bytes() for name in config["files"]}
        outbox.put(("end", {"files": files, "provenances": _provenances(root, shipment)}))


def node_fault(log: Path) -> str:
    """What is wrong with the node on which stages failed, "" if nothing is.

    Stages that fail say why, DVC at least. A log without an error could not be written: the disk is full.
    """
    said = _errors(log)
    if not said:
        return "the stages failed, and their log has no error"
    return FULL if FULL in said else ""


def _reason(log: Path) -> str:
    """Why stages failed: their errors, or the end of what they printed."""
    return (_errors(log) or " ".join(log.read_text(errors="replace").splitlines()[-3:]))[:500]


def _errors(log: Path) -> str:
    lines = log.read_text(errors="replace").splitlines()
    return " ".join(line for line in lines if line.startswith(("error:", "ERROR:")))


def _provenances(root: Path, shipment: Shipment) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (root / shipment.provenances).glob("*.json")}


def _send_checkpoints(root: Path, sent: dict[Path, int], outbox: Any) -> None:
    for path in (root / "checkpoints").glob("*.npz"):
        try:
            changed = path.stat().st_mtime_ns
            if sent.get(path) != changed:
                outbox.put(("checkpoint", {path.name: path.read_bytes()}))
                sent[path] = changed
        except FileNotFoundError:  # the training has just ended
            return
