"""Results over several seeds: `python -m bench.seeds --recipe best --seeds 1,2,3 --write results/seeds-best.csv`.

Each seed runs in a clone of the committed project, with DVC's cache of this one: what was made before is not made
again, and a later `dvc repro` with that seed finds it. A row is written as soon as it is known.
"""

import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pandas as pd
import typer

from bench.clone import DVC, clone_with_cache, set_params
from pipeline.dataset import load_info
from pipeline.files import md5, parse_yaml
from pipeline.formats import write_csv
from pipeline.inference.onnx_session import Session
from pipeline.paths import ModelPaths, TaskPaths, stage
from pipeline.tasks.bits.evaluation import drawn

KEPT = (
    *("examples", "wrong", "accuracy", "ceiling", "expected_calibration_error", "wrong_shorter", "certified_steps"),
    *("test_accuracy", "test_perplexity", "test_perplexity_kneser_ney"),
)
LONG, DRAWN = (
    (100, 1_000, 10_000),
    1000,
)  # bits, and strings of each density, that a counter counts beside these metrics
SEED = 20_000  # of these strings: not those of an evaluation
ROW = ["model", "dataset", "recipe", "seed"]  # what a row is known by


def main(
    models: Annotated[list[str] | None, typer.Argument(help="all models by default")] = None,
    recipe: Annotated[str, typer.Option(help="a recipe of params.yaml")] = "fast",
    seeds: Annotated[str, typer.Option(help="numbers, separated by commas")] = "1,2,3",
    fable: Annotated[Path | None, typer.Option(help="a text that takes the fable's place")] = None,
    write: Annotated[Path, typer.Option(help="a CSV file; rows that it has are kept")] = Path("results/seeds.csv"),
) -> None:
    """Train and evaluate models with each seed."""
    rows: list[Any] = pd.read_csv(write).to_dict("records") if write.is_file() else []
    with tempfile.TemporaryDirectory() as folder:
        clone = clone_with_cache(Path(folder))
        if fable:
            shutil.copy(fable, clone / "data" / "fable" / fable.name)
        for model in models or _models(clone):
            for seed in (int(part) for part in seeds.split(",")):
                dataset = _split(clone, model, recipe, seed, fable)
                if any([row[key] for key in ROW] == [model, dataset, recipe, seed] for row in rows):
                    continue
                rows.append(_run(clone, model, recipe, seed, as_printed=fable is not None))
                write_csv(pd.DataFrame(rows).sort_values(ROW), write)
                print(rows[-1], flush=True)


def _split(clone: Path, model: str, recipe: str, seed: int, fable: Path | None) -> str:
    """Set the parameters and split the data; the name of the dataset."""
    source = {"tasks.fable.source": f"data/fable/{fable.name}"} if fable else {}
    set_params(clone, {"seed": seed, f"models.{model}.recipe": recipe} | source)
    task = _models(clone)[model]["task"]
    _dvc(clone, "repro", stage("split", task))
    info = load_info(TaskPaths(task, clone).info, ("split", task))
    if info.stand_in:
        sys.exit(f"error: {task}: {info.dataset} is a stand-in; set MNIST_DIR to a folder with the files of MNIST.")
    return info.dataset


def _run(clone: Path, model: str, recipe: str, seed: int, as_printed: bool) -> dict[str, Any]:
    """The row of one model, with the parameters that params.yaml has now.

    `as_printed`: also the accuracy of the last `log_every` steps of training, which the original programs printed.
    """
    _dvc(clone, "repro", stage("evaluate", model))
    paths, history = ModelPaths(model, clone), pd.read_csv(ModelPaths(model, clone).history)
    reference = _models(clone)[model]["reference"]
    metrics = json.loads(paths.metrics.read_text())
    note = paths.root / "logs" / model / f"{md5(paths.weights)}.json"
    known = note.is_file()  # not if the weights came from the cache
    environment = json.loads(note.read_text())["environment"] if known else {}
    return {
        "model": model,
        "dataset": metrics["dataset"],
        "recipe": recipe,
        "seed": seed,
        **{name: metrics[name] for name in KEPT if name in metrics},
        **(_long_strings(paths) if "certified_steps" in metrics else {}),
        "validation_accuracy": history.iloc[-1].get("validation_accuracy"),
        **({"training_accuracy": history.iloc[-1]["accuracy"]} if as_printed else {}),
        "reference": reference["accuracy"] if reference.get("dataset") in (None, metrics["dataset"]) else None,
        "seconds": environment.get("seconds"),
        "device": environment.get("device"),
    }


def _long_strings(paths: ModelPaths) -> dict[str, int]:
    """How many long strings the exported model miscounts, of those of bits.evaluation.drawn."""
    session, rng = Session(paths.onnx, "dvc repro"), np.random.default_rng(SEED)
    wrong = {}
    for length in LONG:
        strings = drawn(length, DRAWN, rng)
        count = session.run(strings[:, :, None].astype(np.float32))["count"][:, 0]
        wrong[f"wrong_{length}_bits"] = int((np.rint(count) != strings.sum(axis=1)).sum())
    return wrong


def _models(clone: Path) -> dict[str, Any]:
    return dict(parse_yaml((clone / "params.yaml").read_bytes())["models"])


def _dvc(clone: Path, *command: str) -> None:
    subprocess.run([*DVC, *command], cwd=clone, check=True)


if __name__ == "__main__":
    typer.run(main)
