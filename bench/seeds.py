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

import pandas as pd
import typer
from ruamel.yaml import YAML

from pipeline.files import md5
from pipeline.paths import ModelPaths

ROOT = Path(__file__).resolve().parent.parent
KEPT = (
    *("examples", "wrong", "accuracy", "ceiling", "expected_calibration_error", "wrong_shorter", "accuracy_40_bits"),
    *("test_accuracy", "test_perplexity", "test_perplexity_kneser_ney"),
)


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
        clone = Path(folder) / "project"
        subprocess.run(["git", "clone", "--quiet", str(ROOT), str(clone)], check=True)
        _dvc(clone, "config", "--local", "cache.dir", str(ROOT / ".dvc" / "cache"))
        if fable:
            shutil.copy(fable, clone / "data" / "fable" / fable.name)
        for model in models or list(YAML(typ="safe").load((clone / "params.yaml").read_text())["models"]):
            for seed in (int(part) for part in seeds.split(",")):
                if any((row["model"], row["recipe"], row["seed"]) == (model, recipe, seed) for row in rows):
                    continue
                rows.append(_run(clone, model, recipe, seed, fable))
                pd.DataFrame(rows).to_csv(write, index=False, float_format="%.9g", lineterminator="\n")
                print(rows[-1], flush=True)


def _run(clone: Path, model: str, recipe: str, seed: int, fable: Path | None) -> dict[str, Any]:
    """The row of one model, recipe and seed."""
    yaml = YAML()
    params = yaml.load(clone / "params.yaml")
    params["seed"], params["recipe"] = seed, recipe
    if fable:
        params["tasks"]["fable"]["source"] = f"data/fable/{fable.name}"
    yaml.dump(params, clone / "params.yaml")
    _dvc(clone, "repro", f"evaluate@{model}")
    paths, reference = ModelPaths(model, clone), params["models"][model]["reference"]
    metrics = json.loads(paths.metrics.read_text())
    note = paths.root / "logs" / model / f"{md5(paths.weights)}.json"
    environment = (
        json.loads(note.read_text())["environment"] if note.is_file() else {}
    )  # none if it came from the cache
    return {
        "model": model,
        "dataset": metrics["dataset"],
        "recipe": recipe,
        "seed": seed,
        **{name: metrics[name] for name in KEPT if name in metrics},
        "validation_accuracy": pd.read_csv(paths.history).iloc[-1].get("validation_accuracy"),
        "reference": reference["accuracy"] if reference.get("dataset") in (None, metrics["dataset"]) else None,
        "seconds": environment.get("seconds"),
        "device": environment.get("device"),
    }


def _dvc(clone: Path, *command: str) -> None:
    subprocess.run([sys.executable, "-m", "dvc", *command], cwd=clone, check=True)


if __name__ == "__main__":
    typer.run(main)
