"""What a branch changes: parameters and inputs, the stages they touched, the figures before and after, the gate."""

import io
import json
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from tabulate import tabulate

from pipeline import compare, data, git, lock
from pipeline.config import PARAMS, Config
from pipeline.errors import BadInput, quoted
from pipeline.gate import Champion, Verdict, judge
from pipeline.outputs import Entries
from pipeline.run import Run, short

Rows = list[list[Any]]


@dataclass(frozen=True)
class Side:
    """The project before or after: a revision, or the workspace if there is none."""

    name: str
    revision: str | None

    def read(self, path: Path) -> bytes | None:
        """A file of git, or of the workspace; None if it is not there."""
        if self.revision:
            return git.show(self.revision, str(path))
        return path.read_bytes() if path.is_file() else None

    def stages(self) -> Entries:
        """The entries of dvc.lock."""
        return lock.stages(self.revision)


@dataclass(frozen=True)
class Report:
    """All that is told of a branch."""

    base: str
    changes: Rows  # parameter or input, before, after
    ran: list[str]  # stages that the changes touched
    skipped: list[str]
    pairs: list[list[Run]]  # before and after, of each model whose stages ran
    new: list[str]  # models that the base does not have
    verdicts: list[Verdict]


def make(base: str, config: Config) -> Report:
    """Compare the workspace with the commit where it left `base`.

    BadInput if there is no such revision, if it holds no dvc.lock, or if the workspace is not up to date.
    """
    before, now = Side(base, _left(base)), Side("now", None)
    was, entries = before.stages(), _present(now.stages(), config)
    if not was:
        raise BadInput(f"{base} holds no {lock.LOCK}: there is nothing to compare with; name another base.")
    _need_up_to_date()
    ran = _ran(was, entries)
    touched = [model for model in config.models if any(stage.endswith(f"@{model}") for stage in ran)]
    new = [model for model in touched if f"evaluate@{model}" not in was]
    pairs = [
        [_run(side, model, config) for side in (before, now)]
        for model in touched
        if model not in new and before.read(_file(model, "metrics.json"))
    ]
    return Report(
        base,
        _parameters(before, now) + _inputs(was, entries),
        sorted(ran),
        sorted(set(entries) - set(ran)),
        pairs,
        new,
        [_verdict(model, config, was, entries, before, now) for model in touched],
    )


def text(report: Report, picture: Path) -> str:
    """The report as Markdown; `picture` is named in it if there are learning curves."""
    parts = [f"# What differs from {report.base}"]
    if not report.changes and not report.ran:
        return f"{parts[0]}\n\nNothing that a stage depends on: no stage ran."
    parts.append("## Parameters and inputs\n\n" + _table(report.changes, ["", "before", "now"]))
    stages = [
        [f"ran ({len(report.ran)})", _list(report.ran)],
        [f"skipped ({len(report.skipped)})", _list(report.skipped)],
    ]
    parts.append("## Stages\n\n" + _table(stages, ["", "stages"]))
    if report.pairs:
        figures = compare.text(report.pairs, picture, markdown=True)
        parts.append(f"## Figures\n\n{figures}")
    if report.new:
        parts.append(f"New, with nothing to compare: {_list(report.new)}.")
    if report.verdicts:
        rows = [
            [verdict.model, "passed" if verdict.passed else "**did not pass**", "; ".join(verdict.reasons)]
            for verdict in report.verdicts
        ]
        parts.append("## Gate\n\n" + _table(rows, ["model", "verdict", "reasons"]))
    return "\n\n".join(parts)


def _present(entries: Entries, config: Config) -> Entries:
    """Without the entries of tasks and models that params.yaml does not have any more: DVC keeps them."""
    return {stage: entry for stage, entry in entries.items() if stage.split("@")[-1] in config.tasks | config.models}


def _left(base: str) -> str:
    if not git.commit(base):
        raise BadInput(
            f"there is no revision {quoted(base)} to compare with; fetch it (`git fetch origin {base}`), or name "
            "another with --base."
        )
    return git.merge_base(git.commit(base)) or git.commit(base)


def _need_up_to_date() -> None:
    if changed := lock.changed():
        raise BadInput(
            f"the workspace is not up to date ({', '.join(changed[:5])}{', ...' if len(changed) > 5 else ''}): run "
            "`dvc repro` first."
        )


def _ran(was: Entries, entries: Entries) -> set[str]:
    """The stages with another command, parameter, code or source, and those that read other files of such a stage.

    What an untouched stage made is not compared: another processor makes other bytes of the same inputs.
    """
    makers = {path: stage for stage, entry in entries.items() for path in lock.hashes(entry, "outs")}
    ran: set[str] = set()

    def touched(stage: str) -> bool:
        before, now = was.get(stage, {}), entries[stage]
        if (before.get("cmd"), lock.params(before)) != (now["cmd"], lock.params(now)):
            return True
        read, reads = lock.hashes(before, "deps"), lock.hashes(now, "deps")
        compared = {path for path in {**read, **reads} if makers.get(path) in (None, *ran)}
        return any(read.get(path) != reads.get(path) for path in compared)

    while new := {stage for stage in entries if stage not in ran and touched(stage)}:
        ran |= new
    return ran


def _parameters(before: Side, now: Side) -> Rows:
    was, present = (lock.flat(lock.yaml(side.read(PARAMS) or b"{}") or {}) for side in (before, now))
    keys = [key for key in {**was, **present} if was.get(key, "-") != present.get(key, "-")]
    return [[key, was.get(key, "-"), present.get(key, "-")] for key in keys]


def _inputs(was: Entries, entries: Entries) -> Rows:
    """Code and sources that differ: what stages read and none of them makes."""
    before, now = (_read(stages) for stages in (was, entries))
    return [
        [path, before.get(path, "-")[:7], now.get(path, "-")[:7]]
        for path in sorted({**before, **now})
        if before.get(path) != now.get(path)
    ]


def _read(entries: Entries) -> dict[str, str]:
    read: dict[str, str] = {}
    made: set[str] = set()
    for entry in entries.values():
        read |= lock.hashes(entry, "deps")
        made |= set(lock.hashes(entry, "outs"))
    return {path: md5 for path, md5 in read.items() if path not in made}


def _file(model: str, name: str) -> Path:
    return data.MODELS / model / name


def _run(side: Side, model: str, config: Config) -> Run:
    task, entries = config.model(model).task, side.stages()
    train = entries.get(f"train@{model}", {})
    history = side.read(_file(model, "history.csv")) or b"step,accuracy\n"
    return Run(
        id="",
        name=f"{model}@{side.name}",
        model=model,
        task=task,
        params={key: str(value) for key, value in short(lock.params(train)).items()},
        inputs=lock.hashes(train, "deps"),
        figures={key: value for key, value in _metrics(side, model).items() if not isinstance(value, str)},
        history=pd.read_csv(io.BytesIO(history), index_col="step"),
        answers=_answers(entries.get(f"evaluate@{model}", {}), model),
    )


def _metrics(side: Side, model: str) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(side.read(_file(model, "metrics.json")) or b"{}")
    return content


def _answers(evaluate: Entries, model: str) -> pd.DataFrame | None:
    """What the model said to each test example; None if neither DVC's cache nor its remote holds it any more."""
    path = _file(model, "answers.parquet")
    md5 = lock.hashes(evaluate, "outs").get(str(path))
    if md5 is None:
        return None
    with tempfile.TemporaryDirectory() as folder:
        try:
            lock.Cache().place(md5, Path(folder) / path.name)
        except BadInput:
            return None
        return pd.read_parquet(Path(folder) / path.name)


def _verdict(model: str, config: Config, was: Entries, entries: Entries, before: Side, now: Side) -> Verdict:
    spec, figures, old = config.model(model), _metrics(now, model), _metrics(before, model)
    path = str(data.SPLIT / spec.task / "examples.parquet")
    examples = [lock.hashes(stages.get(f"evaluate@{model}", {}), "deps").get(path) for stages in (was, entries)]
    champion = Champion(before.name, old["accuracy"] if examples[0] == examples[1] else None) if old else None
    return judge(model, figures["dataset"], figures["accuracy"], spec.gate.floor, champion)


def _list(names: Sequence[str]) -> str:
    return ", ".join(f"`{name}`" for name in names) or "none"


def _table(rows: Rows, heads: list[str]) -> str:
    return tabulate(rows, heads, "github", disable_numparse=True)
