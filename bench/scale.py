"""What commands cost as a project grows: its models, recorded runs, units, steps and examples.

All else is small, so that what grows is what costs. Each command runs twice, of which the second counts: files are read
from memory then. One that takes more than a minute runs once.
"""

import sqlite3
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from tqdm import tqdm

from bench.clone import DVC, IN_ONE_PROCESS
from bench.measure import ROOT, run

PIPELINE = [sys.executable, "-m", "pipeline"]
MODELS = (1, 10, 50)
RUNS = (50, 200, 1000)  # in the store of the most models
UNITS = (16, 64, 256, 1024)
STEPS = (3, 10, 30, 100)  # that train
LONG = (100, 1_000, 10_000, 100_000)  # steps of a string that is counted
TESTED = (2**10, 2**13, 2**17, 2**20)  # strings, of which TRAIN train
TRAINED = (1_000, 10_000, 100_000, 1_000_000)  # strings of 20 bits that train
LONG_RUN = 60  # seconds, from which on a command runs once
BITS, TRAIN = 8, 100  # of a small task
WORDS = 2_000  # of a story
NETWORK = {"cell": "lstm", "units": [8], "dense": None}
RECIPE = {"batch_size": 50, "log_every": 10, "learning_rate": 0.01, "steps": 20}
COUNT = {"supervise": "every-step", "readout": "count", "loss": "squared-error"}
STAGES = ("train", "export", "evaluate")
UNRECORDED = ["env", "PIPELINE_RECORD=off", sys.executable, "-c"]  # `track` records all of them at once, later
# What `dvc commit --force` does. It writes dvc.lock anew for each stage, so that its time grows with their square.
COMMIT = """
import sys
from dvc.repo import Repo
from dvc.stage.serialize import to_single_stage_lockfile
from dvc.utils.serialize import dumps_yaml
with Repo() as repo, repo.lock:
    entries = {}
    for stage in repo.index.stages:
        if stage.cmd.split()[3] in sys.argv[1:]:
            stage.save()
            stage.commit()
            repo.stage_cache.save(stage)
        entries[stage.addressing] = to_single_stage_lockfile(stage)
open("dvc.lock", "w").write(dumps_yaml({"schema": "2.0", "stages": entries}))
"""
OF_A_RUN = ("metrics", "latest_metrics", "params", "tags")  # tables of MLflow
Cost = dict[str, dict[str, float]]  # seconds and mib, by command


def scale(full: bool) -> dict[str, list[dict[str, Any]]]:
    """The cost of commands by what grows, and by its size."""
    runs = [*tqdm(_of_runs(), "recorded runs", len(RUNS))]
    sizes: dict[str, tuple[tuple[int, ...], Callable[[int], Cost]]] = {
        "models": (MODELS[:-1], _of_models),
        "units": (UNITS, lambda units: _of_stages(network=NETWORK | {"units": [units]})),
        "steps": (STEPS, lambda steps: _of_stages(context=steps)),
        "examples that test": (TESTED, lambda tested: _of_stages(bits=tested.bit_length() - 1)),
        "examples that train": (TRAINED, lambda trained: _of_stages(bits=20, train=trained - 1)),
    }
    found = {
        axis: [{"size": size, "costs": measure(size)} for size in tqdm(of_axis, axis)]
        for axis, (of_axis, measure) in sizes.items()
    }
    found["models"].append({"size": MODELS[-1], "costs": runs[0]["costs"]})
    return found | {"recorded runs": runs, "steps of a string": [*tqdm(_of_strings(), "steps of a string", len(LONG))]}


def _of_models(size: int) -> Cost:
    with _project() as clone:
        train_all(clone, size)
        return nothing_new(clone)


def _of_runs() -> Iterator[dict[str, Any]]:
    with _project() as clone:
        train_all(clone, MODELS[-1])
        for size in RUNS:
            add_runs(clone / "mlflow.db", size)
            yield {"size": size, "costs": nothing_new(clone)}


def _of_stages(**changes: Any) -> Cost:
    with _project(**changes) as clone:
        return stages(clone)


def _of_strings() -> Iterator[dict[str, Any]]:
    with _project() as clone, tempfile.NamedTemporaryFile("w") as file:
        train_all(clone, 1)
        for size in LONG:
            Path(file.name).write_text("01" * (size // 2) + "\n")
            yield {
                "size": size,
                "costs": {"predict": _cost([*PIPELINE, "predict", "m00", "-"], clone, Path(file.name))},
            }


@contextmanager
def _project(**changes: Any) -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as folder:
        yield clone_with_small_task(Path(folder), **changes)


def clone_with_small_task(
    folder: Path, network: dict[str, Any] = NETWORK, bits: int = BITS, train: int = TRAIN, context: int = 0
) -> Path:
    """A clone with one model m00 that counts bits, or, with a context, that reads so many words of a story."""
    clone = folder / "project"
    subprocess.run(["git", "clone", "--quiet", str(ROOT), str(clone)], check=True)
    params = YAML(typ="safe").load(clone / "params.yaml")
    model = {"task": "bits", "recipe": "fast", "reference": {"accuracy": None}, "gate": {"floor": 0.0}}
    recipe = RECIPE if context else RECIPE | COUNT
    params["models"] = {"m00": model | {"network": network, "recipes": {"fast": recipe}}}
    if context:
        params["models"]["m00"]["task"] = "fable"
        params["tasks"] = {"fable": params["tasks"]["fable"] | {"split": {"context": context}}}
        words = (f"w{place * place % 101}" for place in range(WORDS))  # some follow each other again
        (clone / params["tasks"]["fable"]["source"]).write_text(" ".join(words) + "\n")
    else:
        bits_task = params["tasks"]["bits"]
        params["tasks"] = {"bits": bits_task | {"generate": {"length": bits}, "split": {"train": train}}}
    with (clone / "params.yaml").open("w") as file:
        YAML().dump(params, file)
    return clone


def train_all(clone: Path, models: int) -> None:
    """Train, evaluate and record so many models, which differ in their steps."""
    params = YAML(typ="safe").load(clone / "params.yaml")
    model = params["models"]["m00"]
    recipe = model["recipes"]["fast"]
    names = [f"m{place:02}" for place in range(models)]
    recipes = [recipe | {"steps": 20 + 10 * place} for place in range(models)]
    params["models"] = {name: model | {"recipes": {"fast": each}} for name, each in zip(names, recipes, strict=True)}
    with (clone / "params.yaml").open("w") as file:
        YAML().dump(params, file)
    first = ["check", *(f"{verb} {task}" for verb in ("generate", "split") for task in params["tasks"])]
    first += [f"{verb} {name}" for name in names for verb in ("train", "export")]
    for some in (first, [f"evaluate {name}" for name in names]):  # which read dvc.lock
        run([*UNRECORDED, IN_ONE_PROCESS, *some], clone)
        run([sys.executable, "-c", COMMIT, *{command.split()[0] for command in some}], clone)
    run([*DVC, "repro"], clone)
    run([*PIPELINE, "track"], clone)


def nothing_new(clone: Path) -> Cost:
    """The cost of commands that find nothing to do, and of a comparison and a prediction."""
    first, *others = YAML(typ="safe").load(clone / "params.yaml")["models"]
    commands = {
        "dvc repro": [*DVC, "repro"],
        "track": [*PIPELINE, "track"],
        "compare": [*PIPELINE, "compare", first, *others[-1:]],
        "results": [*PIPELINE, "results"],
        "predict": [*PIPELINE, "predict", first, "01" * 10],
    }
    if not others:
        del commands["compare"]  # of one run with none
    return {name: _cost(command, clone) for name, command in commands.items()}


def stages(clone: Path) -> Cost:
    """The cost of the stages of m00, and of a prediction."""
    task = next(iter(YAML(typ="safe").load(clone / "params.yaml")["tasks"]))
    for command in (["check"], ["generate", task]):
        run([*PIPELINE, *command], clone)
    costs = {"split": _cost([*PIPELINE, "split", task], clone)}
    run([*DVC, "commit", "--force", f"split@{task}"], clone)
    for verb in STAGES:
        costs[verb] = _cost([*PIPELINE, verb, "m00"], clone)
        run([*DVC, "commit", "--force", f"{verb}@m00"], clone)
    return costs


def _cost(command: list[str], clone: Path, stdin: Path | None = None) -> dict[str, float]:
    done = run(command, clone, stdin)
    if done.seconds < LONG_RUN:
        done = run(command, clone, stdin)
    return {"seconds": done.seconds, "mib": done.mib}


def add_runs(store: Path, number: int) -> None:
    """Copy runs of an MLflow store, with other ids and other weights, until it has so many."""
    with closing(sqlite3.connect(store)) as database, database:
        runs = [row[0] for row in database.execute("SELECT run_uuid FROM runs ORDER BY run_uuid")]
        for place in range(number - len(runs)):
            new = uuid.uuid4().hex
            for table in ("runs", *OF_A_RUN):
                columns = [row[1] for row in database.execute(f"PRAGMA table_info({table})")]
                values = ", ".join("?1" if column == "run_uuid" else column for column in columns)
                database.execute(
                    f"INSERT INTO {table} ({', '.join(columns)}) "  # noqa: S608  # the names above
                    f"SELECT {values} FROM {table} WHERE run_uuid = ?2",
                    (new, runs[place % len(runs)]),
                )
            database.execute(
                "UPDATE tags SET value = ?1 WHERE run_uuid = ?2 AND key = 'weights'", (uuid.uuid4().hex, new)
            )
