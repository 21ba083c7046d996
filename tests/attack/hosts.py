"""Areas of the campaign: what the machines of a cluster give each other."""

import importlib.util
import json
import os
import random
import shutil
from functools import cache
from pathlib import Path
from typing import Any
from unittest import mock

from pipeline import config
from pipeline.cluster import node
from pipeline.training import keys
from tests.attack.harness import judged
from tests.attack.mutations import NASTY, damaged, retyped
from tests.harness import project

BITS, *_ = project.MODELS


def hosts(rng: random.Random) -> tuple[str, str]:
    """Keys, TF_CONFIG, addresses and the outputs of a worker, damaged or of other types: a sentence, or harmless."""
    areas = [_keys, _keys, _tf_config, _tf_config, _address]
    return rng.choice([*areas, *([_outputs] * 3 if importlib.util.find_spec("ray") else [])])(rng)


def _keys(rng: random.Random) -> tuple[str, str]:
    folder = Path("keys").resolve()
    shutil.rmtree(folder, ignore_errors=True)
    try:
        keys.write(keys.make(["10.0.0.1"]), folder)
        path = folder / rng.choice(node.FILES)
        match rng.choice(["damaged", "gone", "folder", "other"]):
            case "damaged":
                path.write_bytes(damaged(path.read_bytes(), rng))
            case "other":
                path.write_bytes(keys.make(["10.0.0.1"])[path.name])
            case kind:
                path.unlink()
                if kind == "folder":
                    path.mkdir()
        with mock.patch.dict(os.environ, PIPELINE_KEYS=str(folder)):
            wrong = judged(node.require_keys, folder) or judged(keys.context, rng.random() < 0.5)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return f"keys with another {path.name}", wrong


def _tf_config(rng: random.Random) -> tuple[str, str]:
    from pipeline.training import distributed

    valid = {"cluster": {"worker": ["a:1", "b:2"]}, "task": {"type": "worker", "index": 1}}
    text = json.dumps(retyped(valid, rng))
    if rng.random() < 0.3:
        text = damaged(text.encode(), rng).decode(errors="replace").replace("\0", "")
    recipe = config.load().model(BITS).recipe
    with mock.patch.dict(os.environ, TF_CONFIG=text):
        return f"TF_CONFIG {text[:100]}", judged(distributed.from_environment, recipe)


def _address(rng: random.Random) -> tuple[str, str]:
    address = rng.choice([*NASTY, "", "auto", "[::1", "a" * 70_000 + ":1", "127.0.0.1:9", "127.0.0.1:99999", "::1:9"])
    return f"the address {address[:50]}", judged(node.require_safe, address) or judged(keys.make, [address])


@cache
def sweep_of_one() -> tuple[Any, dict[str, Any]]:
    """A sweep of one trial, attack-1, and what that sends."""
    from pipeline.cluster import overrides, plan, worker

    settings = config.load()
    trials = overrides.trials(BITS, ["seed=1"], [], None, settings)
    sweep = plan.plan(settings.model(BITS), trials, "attack")
    return sweep, worker.outputs(Path(), sweep.shipment)


def _outputs(rng: random.Random) -> tuple[str, str]:
    from pipeline.cluster import receiver

    sweep, content = sweep_of_one()
    sent = {**content, "metrics": content["metrics"].decode()}
    sent = retyped(sent, rng)
    if isinstance(sent, dict) and isinstance(sent.get("metrics"), str) and rng.random() < 0.9:
        sent["metrics"] = sent["metrics"].encode(errors="replace")
    folder = Path().resolve().parent
    before = {*folder.iterdir()}
    wrong = judged(lambda: str(receiver.receive(sweep, "attack-1", sent, [])))
    outside = {*folder.iterdir()} - before
    return "outputs of a worker with other types", wrong or (f"{outside} was written" if outside else "")
