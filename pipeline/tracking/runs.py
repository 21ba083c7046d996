"""Read runs: found by what a person calls them, with all that comparing or reproducing one takes."""

import re
import tempfile
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from pipeline import data, git, lock, run
from pipeline.config import Config
from pipeline.errors import BadInput, quoted
from pipeline.outputs import trained
from pipeline.run import Provenance, Run
from pipeline.tracking import content, store

SHORTEST = 6  # characters of a run's id that are taken for it


def one(text: str, config: Config) -> tuple[str, Provenance, bytes]:
    """The name, provenance and patch of the one run that `text` calls; BadInput if there are none or several."""
    with store.needed() as client:
        found = _called(client, text, config)
        if len(found) > 1:
            names = ", ".join(f"{each.info.run_name} ({each.info.run_id[:8]})" for each in found[:8])
            raise BadInput(f"{quoted(text)} calls {len(found)} runs: {names}; name one of them, by its id if need be.")
        run_id = found[0].info.run_id
        with tempfile.TemporaryDirectory() as folder:
            told, patch = _provenance(client, found[0], Path(folder)), b""
            if told.uncommitted:
                if "changes.patch" not in {file.path for file in client.list_artifacts(run_id)}:
                    raise BadInput(
                        f"the run {found[0].info.run_name} was made from uncommitted changes, and its changes.patch is "
                        "gone; bring MLflow's artifacts back, or take another run."
                    )
                patch = Path(client.download_artifacts(run_id, "changes.patch", folder)).read_bytes()
        if not told.inputs:
            raise BadInput(
                f"the run {found[0].info.run_name} was trained without DVC, so the hashes of its data are not known; "
                "run `dvc repro`, then take the run that comes of it."
            )
        return str(found[0].info.run_name), told, patch


def some(texts: list[str], config: Config) -> list[list[Run]]:
    """The runs to be compared, group by group.

    No text: the newest run of each model and the one before it. One run: it and the one before it. Several that each
    call one run: those. Otherwise a group for each model.
    """
    with store.needed() as client:
        if not texts:
            pairs = [_latest(client, model)[:2] for model in config.models]
            groups = [pair[::-1] for pair in pairs if len(pair) > 1]
            if not groups:
                raise BadInput("no model has two runs yet: change a parameter, `dvc repro`, and compare again.")
        else:
            called = [_called(client, text, config) for text in texts]
            if len(called) == 1 and len(called[0]) == 1:
                groups = [_with_the_one_before(client, called[0][0])]
            elif all(len(found) == 1 for found in called):
                groups = [[found[0] for found in called]]
            else:
                groups = _by_model([each for found in called for each in found])
        return [[_read(client, each) for each in _once(group)] for group in groups]


def _called(client: Any, text: str, config: Config) -> list[Any]:
    """Runs by model (its newest), id, name or pattern of names, experiment, or revision of git: the first that fits."""
    runs = content.runs(client, "")
    if text in config.models:
        if not (newest := _latest(client, text)[:1]):
            raise BadInput(f"no run of {text} is recorded yet: `dvc repro evaluate@{text}` makes one.")
        return newest
    for fits in (
        lambda each: len(text) >= SHORTEST and each.info.run_id.startswith(text),
        lambda each: each.info.run_name == text,
        lambda each: each.data.tags.get("experiment") == text,
        lambda each: any(
            fnmatchcase(name, text) for name in (each.info.run_name, each.data.tags.get("experiment")) if name
        ),
    ):
        if found := [each for each in runs if fits(each)]:
            return sorted(found, key=lambda each: (_order(each), each.info.start_time))
    if commit := git.commit(text):
        return _at(runs, text, lock.stages(commit), config)
    raise BadInput(
        f"there is no run, experiment, revision or model {quoted(text)} in {store.masked(store.address())}: name one "
        f"of the models ({', '.join(config.models)}), or a run as `mlflow ui` lists it."
    )


def _at(runs: list[Any], revision: str, stages: dict[str, Any], config: Config) -> list[Any]:
    found = []
    for model in config.models:
        weights = trained(stages, model)
        held = [each for each in runs if weights and each.data.tags.get(content.WEIGHTS) == weights]
        if weights and not held:
            raise BadInput(f"no run is recorded of {model} at {revision}; `pipeline track {revision}` records it.")
        found += held[:1]
    if not found:
        raise BadInput(f"revision {revision} holds no trained model: its dvc.lock names none of params.yaml's.")
    return found


def _latest(client: Any, model: str) -> list[Any]:
    return content.runs(client, f"tags.model = '{model}'")


def _with_the_one_before(client: Any, this: Any) -> list[Any]:
    earlier = [each for each in _latest(client, this.data.tags["model"]) if each.info.start_time < this.info.start_time]
    if not earlier:
        raise BadInput(f"{this.info.run_name} is the first run of its model; name another to compare it with.")
    return [earlier[0], this]


def _by_model(runs: list[Any]) -> list[list[Any]]:
    groups: dict[str, list[Any]] = {}
    for each in runs:
        groups.setdefault(each.data.tags["model"], []).append(each)
    several = [_once(group) for group in groups.values() if len(_once(group)) > 1]
    if not several:
        raise BadInput("these hold one run of each model: name others to compare them with.")
    return several


def _order(run: Any) -> list[Any]:
    """By name, sweep-2 before sweep-10."""
    return [int(part) if part.isdecimal() else part for part in re.split(r"(\d+)", run.info.run_name)]


def _once(runs: list[Any]) -> list[Any]:
    return list({each.info.run_id: each for each in runs}.values())


def _provenance(client: Any, found: Any, folder: Path) -> Provenance:
    if "provenance.json" not in {file.path for file in client.list_artifacts(found.info.run_id)}:
        raise BadInput(
            f"the run {found.info.run_name} holds no provenance.json: its training was not finished, or its artifacts "
            "are gone; finish it with `dvc repro`, then `pipeline track`, or take another run."
        )
    return run.load(Path(client.download_artifacts(found.info.run_id, "provenance.json", folder)))


def _read(client: Any, found: Any) -> Run:
    import pandas as pd

    run_id = found.info.run_id
    columns = {}
    for key in found.data.metrics:
        if key.startswith(content.CURVES):
            points = client.get_metric_history(run_id, key)
            columns[key.removeprefix(content.CURVES)] = pd.Series({point.step: point.value for point in points})
    with tempfile.TemporaryDirectory() as folder:
        told, answers = _provenance(client, found, Path(folder)), None
        if any(file.path == "answers.parquet" for file in client.list_artifacts(run_id)):
            path = Path(client.download_artifacts(run_id, "answers.parquet", folder))
            answers = data.load_parquet(path, "pipeline track")
    return Run(
        run_id,
        found.info.run_name,
        told.model,
        told.task,
        {"recipe": told.recipe} | {key: str(value) for key, value in run.short(told.params).items()},
        told.inputs,
        {key: value for key, value in found.data.metrics.items() if not key.startswith(content.CURVES)},
        pd.DataFrame(columns).rename_axis("step").sort_index(),
        answers,
    )
