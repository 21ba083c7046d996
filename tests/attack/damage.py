"""Areas of the campaign: damaged files."""

import hashlib
import io
import json
import random
from pathlib import Path

import pandas as pd

from pipeline.files import md5
from pipeline.paths import LOCK, MANIFEST, ModelPaths, TaskPaths
from tests.attack.harness import changed, kept, run
from tests.attack.mutations import damaged, edited, retyped
from tests.harness import project

BITS, MNIST, FABLE = project.MODELS


def exports(rng: random.Random) -> tuple[str, str]:
    """A damaged export predicts nothing else."""
    model, text = rng.choice([(BITS, "01101010"), (FABLE, "there came a")])
    path = rng.choice([ModelPaths(model).onnx, ModelPaths(model).info, ModelPaths(model).export / "manifest.json"])
    expected = project.invoke("predict", model, text).stdout
    with changed(path, damaged(path.read_bytes(), rng)):
        result, wrong = run("predict", model, text)
    if not wrong and result.exit_code == 0 and result.stdout != expected:
        wrong = f"predicted {result.stdout!r}, undamaged {expected!r}"
    return f"predict with a damaged {path}", wrong


def data(rng: random.Random) -> tuple[str, str]:
    """A damaged file is refused by the stage that reads it, or changes none of its outputs."""
    model, task = rng.choice([(BITS, "bits"), (FABLE, "fable"), (MNIST, "mnist")])
    paths, files = ModelPaths(model), TaskPaths(task)
    folder, command, outputs = rng.choice(
        [
            (files.raw, ("split", task), files.split),
            (files.split, ("evaluate", model), paths.folder),
            (paths.export, ("evaluate", model), paths.folder),
        ]
    )
    path = rng.choice(sorted(file for file in folder.rglob("*") if file.is_file() and file.name[0] != "."))
    before = _hashes(outputs, path)
    with changed(path, damaged(path.read_bytes(), rng)):
        result, wrong = run(*command)
    if not wrong and _hashes(outputs, path) != before:
        wrong = f"exit status {result.exit_code}, and other outputs"
    return f"{' '.join(command)} with a damaged {path}", wrong


def _hashes(folder: Path, without: Path) -> dict[Path, str]:
    return {path: md5(path) for path in folder.rglob("*") if path.is_file() and path != without}


def types(rng: random.Random) -> tuple[str, str]:
    """A file with values of other types, and the manifest that fits it: refused, or harmless."""
    model = rng.choice([BITS, MNIST, FABLE])
    paths, data = ModelPaths(model), TaskPaths(model.partition("-")[0])
    site, compare = ("site", "page"), ("compare", "HEAD", "workspace")
    readers: dict[Path, list[tuple[str, ...]]] = {
        paths.info: [("predict", model, "there came a"), ("explain", model, "01101010"), site, ("evaluate", model)],
        data.info: [("evaluate", model), site, ("verify",)],
        paths.metrics: [site, ("results",), ("track",), compare],
        paths.certificate: [site, ("predict", BITS, "01101010")],
        paths.history: [site, ("track",), compare],
        paths.confusion: [site],
        paths.by_class: [site],
        paths.predictions: [site, compare],
    }
    path = rng.choice(list(readers))
    command = rng.choice(readers[path])
    before = path.read_bytes()
    if path.suffix == ".json":
        new = json.dumps(retyped(json.loads(before), rng)).encode()
    elif path.suffix == ".csv":
        table = [line.split(",") for line in before.decode().splitlines()]
        found = retyped(table, rng)
        rows = found if isinstance(found, list) else []
        lines = (",".join(map(str, row if isinstance(row, list) else [row])) for row in rows)
        new = "\n".join(lines).encode("utf-8", "replace")
    else:
        new = _retyped_table(before, rng)
    with kept(*{path.parent, paths.folder, Path("logs"), Path("mlflow.db"), Path("mlartifacts")}):
        _write_listed(path, new)
        _, wrong = run(*command)
    return f"{' '.join(command)} with other types in {path}: {_first_difference(before, new)}", wrong


def swapped(rng: random.Random) -> tuple[str, str]:
    """A file of another model, or one of its values, and the manifest that fits it: refused, or harmless."""
    model, other = rng.sample([BITS, MNIST, FABLE], 2)
    paths, given = ModelPaths(model), {BITS: "01101010", MNIST: "docs/seven.png", FABLE: "there came a"}[model]
    path = rng.choice([paths.info, paths.onnx])
    new = (ModelPaths(other).export / path.name).read_bytes()
    if path == paths.info and rng.random() < 0.7:
        content, keys = json.loads(path.read_bytes()), ["task", "shape", "class_names", "autoregressive", "encoding"]
        content |= {key: json.loads(new)[key] for key in rng.sample(keys, rng.randint(1, 3))}
        new = json.dumps(content).encode()
    command = rng.choice([("predict", model, given), ("explain", model, given), ("site", "page"), ("evaluate", model)])
    with kept(paths.folder):
        _write_listed(path, new)
        _, wrong = run(*command)
    return f"{' '.join(command)} with {path} of {other}", wrong


def _write_listed(path: Path, content: bytes) -> None:
    """Write a file, and its hash in the manifest beside it if that lists it."""
    path.chmod(0o644)
    path.write_bytes(content)
    manifest = path.parent / MANIFEST
    if manifest.is_file() and path.name in (listed := json.loads(manifest.read_text())):
        manifest.chmod(0o644)
        manifest.write_text(json.dumps(listed | {path.name: hashlib.sha256(content).hexdigest()}))


def _retyped_table(content: bytes, rng: random.Random) -> bytes:
    table = pd.read_parquet(io.BytesIO(content))
    column = rng.choice([*table])
    changed = table.drop(columns=column) if rng.random() < 0.5 else table.astype({column: str})
    return bytes(changed.to_parquet())


def _first_difference(before: bytes, after: bytes) -> str:
    place = next((i for i, pair in enumerate(zip(before, after, strict=False)) if pair[0] != pair[1]), 0)
    return repr(after[max(place - 30, 0) : place + 30])


def lock(rng: random.Random) -> tuple[str, str]:
    """A damaged dvc.lock is refused, or shown to differ; what it names outside of the project stays as it is."""
    precious = Path("..") / "precious"
    precious.write_text("precious")
    text = LOCK.read_text()
    if rng.random() < 0.3:
        old = rng.choice([str(ModelPaths(BITS).metrics), str(TaskPaths("bits").info), str(ModelPaths(BITS).weights)])
        new = rng.choice([precious.resolve(), precious, f"data/split/../../{precious}"])
        text = text.replace(f"path: {old}", f"path: {new}")
    else:
        text = edited(text, rng)
    command = rng.choice([("verify",), ("results",), ("track", "HEAD"), ("track",), ("report", "--base", "HEAD")])
    with changed(LOCK, text.encode()):
        _, wrong = run(*command)
    if not wrong and precious.read_text() != "precious":
        wrong = "a file outside of the project was overwritten"
    return f"{' '.join(command)} with a damaged {LOCK}", wrong


def recorded(rng: random.Random) -> tuple[str, str]:
    """A damaged artifact of a run in MLflow: `pipeline track` writes it again."""
    run("track")
    # Of runs of the workspace: `pipeline track` looks at no other.
    runs = [path.parent for path in Path("mlartifacts").rglob("provenance.json") if _of_workspace(path)]
    path = rng.choice([path for folder in runs for path in folder.rglob("*") if path.is_file()])
    before = path.read_bytes()
    with changed(path, damaged(before, rng)):
        _, wrong = run(*rng.choice([("results",), ("compare", "HEAD", "workspace"), ("report", "--base", "HEAD")]))
        _, late = run("track")
        wrong = wrong or late
        if not wrong and path.name in ("provenance.json", "predictions.parquet") and path.read_bytes() != before:
            wrong = "`pipeline track` believed it"
    return f"track with a damaged {path.name}", wrong


def _of_workspace(provenance: Path) -> bool:
    outputs = json.loads(provenance.read_text())["outputs"]
    return all(Path(path).is_file() and md5(Path(path)) == expected for path, expected in outputs.items())


def run_cache(rng: random.Random) -> tuple[str, str]:
    """A damaged entry or file of DVC's cache: `pipeline track` and `pipeline verify` name it, or do not need it."""
    path = rng.choice([path for path in Path(".dvc/cache").rglob("*") if path.is_file()])
    content = path.read_bytes()
    if "runs" in path.parts and rng.random() < 0.5:
        new = edited(content.decode(), rng).encode()
    else:
        new = damaged(content, rng)
    with changed(path, new):
        _, wrong = run(*rng.choice([("track",), ("track", "HEAD"), ("verify",)]))
    return f"a damaged {path.parts[2]} of the cache", wrong
