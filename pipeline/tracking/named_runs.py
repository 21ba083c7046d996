"""Find runs by what a user types, and load what comparing or reproducing them takes."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import partial
from typing import TYPE_CHECKING, NoReturn

from pipeline.config import Config
from pipeline.errors import PipelineError, quoted, redact
from pipeline.files import md5
from pipeline.lineage import dvc, git
from pipeline.lineage.artifacts import trained_models
from pipeline.lineage.provenance import Provenance
from pipeline.lineage.snapshot import RunSummary, Snapshot, summarize
from pipeline.paths import ModelPaths, repro
from pipeline.tracking import connection, schema
from pipeline.tracking.schema import CHAMPION, PATCH, WEIGHTS

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

WORKSPACE, CHAMPIONS = "workspace", "champion"  # names of a run for each model
SHORTEST_ID = 6  # characters of a run's id that are accepted for it
# How a text may name runs; the first kind of name that fits any run counts.
MATCHERS: dict[str, Callable[["Run", str], bool]] = {
    "id": lambda run, text: len(text) >= SHORTEST_ID and run.info.run_id.startswith(text),
    "name": lambda run, text: run.info.run_name == text,
    "experiment": lambda run, text: run.data.tags.get("experiment") == text,
    "pattern": lambda run, text: any(
        fnmatchcase(name, text) for name in (run.info.run_name, run.data.tags.get("experiment", "")) if name
    ),
}


@dataclass(frozen=True)
class Match:
    """A trained model that a text names: a run, or what git holds of a revision that MLflow does not have."""

    model: str
    key: str  # the id of the run, or model and revision
    load: Callable[[], RunSummary]  # what comparing it takes
    run: "Run | None" = None


def find_run(text: str, config: Config) -> tuple[str, Provenance]:
    """The name and the provenance of the run that matches `text`.

    Raises PipelineError if none or several do, or if the run cannot be reproduced.
    """
    with connection.connected() as client:
        runs = [match.run for match in _Store(client, config).find(text) if match.run]
        if not runs:
            raise PipelineError(f"no run at {quoted(text)} is recorded; run `pipeline track {text}`, then try again.")
        if len(runs) > 1:
            names = ", ".join(f"{run.info.run_name} ({run.info.run_id[:8]})" for run in runs[:8])
            raise PipelineError(f"{quoted(text)} matches {len(runs)} runs: {names}; name one of them, or give its id.")
        name, provenance = str(runs[0].info.run_name), schema.load_provenance(client, runs[0])
    if provenance.uncommitted and not provenance.patch:
        raise PipelineError(
            f"the run {name} was made from uncommitted changes, and its {PATCH} is gone; restore MLflow's artifacts, "
            "or choose another run."
        )
    if not provenance.inputs:
        raise PipelineError(
            f"the run {name} was trained without DVC, so the hashes of its data are not known; run `dvc repro`, then "
            "choose the run that it records."
        )
    return name, provenance


def find_groups(texts: list[str], config: Config) -> list[list[RunSummary]]:
    """The runs to compare with each other, in groups.

    Without a text, for each model its newest run and the one before. With one text that matches one run, that run and
    the one before. With several texts that match one run each, those runs. Otherwise, a group for each model. Of a
    revision that MLflow does not have, a run is what git holds.
    """
    with connection.connected() as client:
        store = _Store(client, config)
        return [[match.load() for match in group] for group in store.groups(texts)]


class _Store:
    """The recorded runs of a store, and what a text names among them."""

    def __init__(self, client: "MlflowClient", config: Config):
        self._client, self._config = client, config
        self._runs = schema.recorded_runs(client)  # the newest first

    def groups(self, texts: list[str]) -> list[list[Match]]:
        """The groups of `find_groups`."""
        named = [self.find(text) if texts else self._newest(text) for text in texts or self._config.models]
        if len(texts) > 1 and len({frozenset(match.key for match in each) for each in named}) == 1:
            raise PipelineError(f"{' and '.join(texts)} name the same runs; name others to compare with.")
        matches = list({match.key: match for each in named for match in each}.values())
        if texts and not all(len(each) == 1 for each in named):
            return _by_model(matches)
        if len(texts) > 1:
            return [matches]
        pairs = [[before, match] for match in matches if (before := self._previous(match))]
        if not pairs:
            raise PipelineError(
                f"there is no earlier run of {texts[0] if texts else 'any model'} to compare with; change a parameter "
                "and run `dvc repro`, or name another run, such as workspace."
            )
        return pairs

    def find(self, text: str) -> list[Match]:
        """The trained models that `text` names, never none: see MATCHERS. Raises PipelineError if it names nothing."""
        if text in self._config.models:
            return self._newest(text) or _none(text, f"`{repro('evaluate', text)}`")
        if text == WORKSPACE:
            return self._in_workspace() or _none(text, "`dvc repro`, then `pipeline track`")
        if text == CHAMPIONS:
            return self._champions() or _none(text, "`pipeline promote`")
        for fits in MATCHERS.values():
            if runs := [run for run in self._runs if fits(run, text)]:
                return self._matches(reversed(runs))
        return self._at_revision(text)

    def _matches(self, runs: Iterable["Run"]) -> list[Match]:
        return [Match(run.data.tags["model"], run.info.run_id, partial(self._load, run), run) for run in runs]

    def _load(self, run: "Run") -> RunSummary:
        copy = partial(schema.download, self._client, run)
        return summarize(run.info.run_name, schema.load_provenance(self._client, run), copy, run.info.run_id)

    def _newest(self, model: str) -> list[Match]:
        return self._matches(run for run in self._runs if run.data.tags["model"] == model)[:1]

    def _in_workspace(self) -> list[Match]:
        files = [ModelPaths(model).weights for model in self._config.models]
        return self._with_weights({md5(file) for file in files if file.is_file()})

    def _with_weights(self, weights: set[str]) -> list[Match]:
        return self._matches(run for run in self._runs if run.data.tags[WEIGHTS] in weights)

    def _champions(self) -> list[Match]:
        ids = {
            self._client.get_model_version(name, str(version)).run_id
            for name in self._config.models
            for model in self._client.search_registered_models(f"name = '{name}'")
            for alias, version in model.aliases.items()
            if alias.startswith(CHAMPION)
        }
        return self._matches(run for run in self._runs if run.info.run_id in ids)

    def _at_revision(self, revision: str) -> list[Match]:
        if not (commit := git.commit(revision)):
            raise PipelineError(
                f"there is no run, experiment, revision or model {quoted(revision)} in "
                f"{redact(connection.tracking_uri())}; name one of the models ({', '.join(self._config.models)}), or a "
                "run that `mlflow ui` lists."
            )
        matches = []
        for model, weights in trained_models(dvc.lock_entries(commit), self._config.models, revision).items():
            summary = partial(Snapshot(revision, commit).summary, model, self._config.model(model).task.name)
            matches += self._with_weights({weights})[:1] or [Match(model, f"{model}@{revision}", summary)]
        return matches

    def _previous(self, match: Match) -> Match | None:
        """The newest earlier run of the same model; one with the same seed and of no sweep, if there is one."""
        if not match.run:
            return None
        run = match.run
        runs = [other for other in self._runs if other.data.tags["model"] == match.model]
        earlier = [other for other in runs if other.info.start_time < run.info.start_time]
        alike = [other for other in earlier if other.data.params.get("seed") == run.data.params.get("seed")]
        single = [other for other in alike if not other.data.tags.get("experiment")]
        return next(iter(self._matches(single or alike or earlier)), None)


def _none(text: str, advice: str) -> NoReturn:
    raise PipelineError(f"{text} has no recorded run; run {advice} first.")


def _by_model(matches: Sequence[Match]) -> list[list[Match]]:
    groups: dict[str, list[Match]] = {}
    for match in matches:
        groups.setdefault(match.model, []).append(match)
    comparable = [group for group in groups.values() if len(group) > 1]
    if not comparable:
        raise PipelineError(
            f"there is only one run of each model among these ({', '.join(groups)}), and none to compare it with; name "
            "other runs, or two models. `pipeline report` shows what the workspace adds."
        )
    return comparable
