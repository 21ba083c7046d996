"""What differs between two states of dvc.lock and params.yaml: parameters, inputs, and the stages that ran."""

from typing import Any

from pipeline.lineage import dvc
from pipeline.lineage.artifacts import Entries

Rows = list[list[Any]]

ABSENT = "-"


def parameters(before: dict[str, Any], now: dict[str, Any]) -> Rows:
    """The parameters that differ, each with its dotted key and its value before and now; "-" where it is absent.

    Those of recipes that neither side uses are left out.
    """
    keys = [key for key in dict.fromkeys([*before, *now]) if _is_used(key, before) or _is_used(key, now)]
    rows = [[key, before.get(key, ABSENT), now.get(key, ABSENT)] for key in keys]
    return [[key, old, new] for key, old, new in rows if old != new]


def _is_used(key: str, params: dict[str, Any]) -> bool:
    """Whether a key of params.yaml is of a recipe that its model uses, or of none: models.M.recipes.RECIPE.steps."""
    match key.split("."):
        case ["models", model, "recipes", recipe, *_]:
            return params.get(f"models.{model}.recipe") == recipe
        case _:
            return True


def inputs(before: Entries, now: Entries) -> Rows:
    """The code and sources that differ, each with the first seven characters of its MD5 before and now."""
    old, new = _inputs(before), _inputs(now)
    return [
        [path, old.get(path, ABSENT)[:7], new.get(path, ABSENT)[:7]]
        for path in sorted(old | new)
        if old.get(path) != new.get(path)
    ]


def stages_that_ran(before: Entries, now: Entries) -> set[str]:
    """The stages with another command, parameter or input, and those that read another output of such a stage.

    The outputs of other stages are not compared: from the same inputs, another processor makes other bytes.
    """
    ran: set[str] = set()
    while True:
        ignored = {path for name in now.keys() - ran for path in dvc.hashes(now[name], "outs")}
        more = {name for name in now.keys() - ran if _differs(before.get(name, {}), now[name], ignored)}
        if not more:
            return ran
        ran |= more


def _differs(before: dict[str, Any], now: dict[str, Any], ignored: set[str]) -> bool:
    """Whether a stage has another command, parameter or dependency, except for the paths in `ignored`."""
    if (before.get("cmd"), dvc.params(before)) != (now["cmd"], dvc.params(now)):
        return True
    old, new = dvc.hashes(before, "deps"), dvc.hashes(now, "deps")
    return any(old.get(path) != new.get(path) for path in (old.keys() | new.keys()) - ignored)


def _inputs(entries: Entries) -> dict[str, str]:
    """What stages read and no stage makes: path and MD5."""
    read: dict[str, str] = {}
    outputs: set[str] = set()
    for entry in entries.values():
        read |= dvc.hashes(entry, "deps")
        outputs |= dvc.hashes(entry, "outs").keys()
    return {path: md5 for path, md5 in read.items() if path not in outputs}
