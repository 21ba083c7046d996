"""Write the page: the files of static/, and of each exported model its weights and what is known of it.

site.json has the names and tasks of the models. models/MODEL/model.json has the network, the dataset, the metrics, the
curves and some examples; models/MODEL/weights.bin has one tensor after another, little-endian float32 or float16.
"""

import json
import shutil
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from math import isfinite
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import numpy_helper

from pipeline.dataset import Examples, load_examples
from pipeline.errors import PipelineError, quoted
from pipeline.files import draft, fits, load_csv, load_json
from pipeline.inference import predict
from pipeline.inference.onnx_session import Session
from pipeline.inference.predict import Predictor
from pipeline.inference.trace import CELLS, Arrays
from pipeline.lineage.artifacts import Artifacts
from pipeline.lineage.provenance import load_training
from pipeline.paths import ModelPaths, TaskPaths, repro
from pipeline.predictions import load_parquet
from pipeline.reports.card import card
from pipeline.reports.metrics import facts
from pipeline.site.lesson import PAGE, SOURCE, html
from pipeline.tasks import load as load_task

STATIC = Path(__file__).parent / "static"
ROLES = ("kernel", "recurrent", "bias", "table", "sharpness")  # of the tensors that the page computes with
PRECISIONS = {"float32": "<f4", "float16": "<f2"}
CARD = "card.md"  # of a model
MARK = "site.json"  # by which a folder is known as a page of this project
SHOWN = 12  # examples of each model
DIGITS = 6  # of a feature
COMPARED = 1000  # examples on which float16 is compared
PICTURES = ("errors", "reliability", "inside")  # of an evaluation
TABLES: dict[str, tuple[list[str], list[str]]] = {  # that the page draws: the columns of each, and which are texts
    "history": (["step"], []),
    "confusion": (["actual", "predicted", "examples"], ["actual", "predicted"]),
    "by_class": (["class", "accuracy"], ["class"]),
}


@dataclass(frozen=True)
class Built:
    """A model of the page, and the largest difference of a probability that its precision makes; None if not known."""

    name: str
    difference: float | None


def build(
    folder: Path, precision: str = "float32", local: bool = False, names: Sequence[str] | None = None
) -> list[Built]:
    """Write the page into a folder, in the place of an older one, with these models; by default with all.

    `local`: this project's server, which reads inputs with Python, will serve it.

    Raises PipelineError if no model is exported, one is damaged, or the folder holds something else.
    """
    if precision not in PRECISIONS:
        raise PipelineError(f"precision is {precision!r}, expected {' or '.join(PRECISIONS)}; use one of these.")
    if folder.is_symlink() or Path.cwd().is_relative_to(folder.resolve()) or (folder.exists() and not folder.is_dir()):
        raise PipelineError(f"{folder} cannot become a page of this project; name a new or an empty folder.")
    if foreign := _foreign(folder):
        raise PipelineError(f"{folder} exists and is no page of this project: it has {foreign}; name a new folder.")
    root, exported = predict.exports()
    models = [predict.load(name) for name in (exported if names is None else names)]
    with draft(folder) as written:
        shutil.copytree(STATIC, written)
        built = [
            _write_model(model, ModelPaths(model.name, root), written / "models" / model.name, precision)
            for model in models
        ]
        if lesson := _is_there(root / SOURCE):
            frame = (STATIC / "index.html").read_text(encoding="utf-8")
            page = html(_text(root / SOURCE), frame)
            (written / PAGE).write_text(page, encoding="utf-8")
        site = [{"name": model.name, "task": model.info.task} for model in models]
        _write_json({"models": site, "local": local, "lesson": lesson and PAGE}, written / MARK)
    return built


def _foreign(folder: Path) -> str:
    """A file of a folder that no page of this project has, or the page's mark that is missing; "" if it is a page."""
    paths = sorted(path for path in folder.rglob("*") if path.is_symlink() or not path.is_dir())
    foreign = [path for path in paths if path.is_symlink() or not _of_page(path.relative_to(folder))]
    if paths and not foreign and not _is_page(folder / MARK):
        return f"no {MARK} of a page"
    return quoted(str(foreign[0].relative_to(folder)), 200) if foreign else ""


def _is_page(mark: Path) -> bool:
    try:
        return fits(json.loads(mark.read_bytes()), {"models": list[dict[str, str]], "local": bool})
    except (OSError, ValueError, RecursionError):
        return False


def _of_page(path: Path) -> bool:
    """Whether a page, or one of an older version, has a file at this path."""
    if len(path.parts) == 1:
        return path.suffix in (".js", ".css", ".html") or path.name == MARK
    of_model = {"model.json", "weights.bin", CARD, *(f"{name}.png" for name in PICTURES)}
    return len(path.parts) == 3 and path.parts[0] == "models" and path.name in of_model


def _write_model(model: Predictor, paths: ModelPaths, folder: Path, precision: str) -> Built:
    weights = {name: tensor for name, tensor in model.weights.items() if name.rpartition(".")[2] in ROLES}
    rounded = {name: tensor.astype(PRECISIONS[precision]) for name, tensor in weights.items()}
    difference = 0.0 if precision == "float32" else _difference(model, paths, rounded)
    folder.mkdir(parents=True)
    pictures = [path for name in PICTURES if _is_there(path := getattr(paths, name))]
    for path in pictures:
        shutil.copy(path, folder / path.name)
    artifacts = Artifacts(paths, TaskPaths(model.info.task, paths.root), {})
    sizes = np.cumsum([0, *(tensor.size for tensor in weights.values())]).tolist()
    content = {
        "name": model.name,
        "dataset": asdict(model.info),
        "network": _network(weights, precision) | {"difference": difference},
        "tensors": [
            {"name": name, "shape": list(tensor.shape), "start": start}
            for (name, tensor), start in zip(weights.items(), sizes, strict=False)
        ],
        "certified_steps": model.certified_steps if precision == "float32" else 0,  # the proof is of these weights
        "facts": _facts(model, artifacts),
        "pictures": [path.name for path in pictures],
        **_of_examples(model, paths),
    }
    if paths.metrics.is_file() and paths.weights.is_file():
        (folder / CARD).write_text(card(artifacts), encoding="utf-8")
        content["card"] = CARD
    _write_json(content, folder / "model.json")
    (folder / "weights.bin").write_bytes(b"".join(tensor.tobytes() for tensor in rounded.values()))
    return Built(model.name, difference)


def _difference(model: Predictor, paths: ModelPaths, weights: Arrays) -> float | None:
    """The largest difference of a probability with these weights, on evaluated examples; None without any."""
    data = TaskPaths(model.info.task, paths.root)
    if not data.examples.is_file():
        return None
    examples = load_examples(data)
    encoded, _ = examples.split("train" if examples.info.implicit_split else examples.info.eval_split)
    features = load_task(model.info.task).features(encoded[:COMPARED], examples.info)
    graph = onnx.load(model.onnx)
    for tensor in graph.graph.initializer:
        if tensor.name in weights:
            tensor.CopyFrom(numpy_helper.from_array(weights[tensor.name].astype(np.float32), tensor.name))
    rounded = Session(graph.SerializeToString(), repro("export", model.name, force=True))
    return float(np.abs(rounded.probabilities(features) - model.probabilities(features)).max())


def _network(weights: Arrays, precision: str) -> dict[str, Any]:
    """What the page has to know of a network beside its weights, in their order."""
    layers = [name.removesuffix(".recurrent") for name in weights if name.endswith(".recurrent")]
    return {
        "cell": next(cell for cell in CELLS if layers[0].startswith(f"{cell}_")),
        "layers": layers,
        "embedding": "embedding.table" in weights,
        "dense": "dense.kernel" in weights,
        "readout": "count" if "count.kernel" in weights else "softmax",
        "precision": precision,
    }


def _facts(model: Predictor, artifacts: Artifacts) -> dict[str, Any]:
    """What the page shows of an evaluation and a training; a file that is not there is left out."""
    costs, metrics = {}, {}
    paths, again = artifacts.paths, repro("evaluate", model.name)
    if paths.weights.is_file():
        training = load_training(model.name, model.info.task, artifacts.weights_md5, paths.root)
        costs = training.costs if training else {}
    if _is_there(paths.metrics):
        metrics = artifacts.metrics()
    table = [[fact.title, fact.text(value)] for fact, value in facts(metrics | costs).items()]
    parameters = load_json(paths.info, repro("export", model.name), {"parameters": int})["parameters"]
    shown: dict[str, Any] = {"parameters": parameters, "metrics": metrics, "table": table}
    if model.certificate:
        shown["certificate"] = model.certificate
    for name, (columns, texts) in TABLES.items():
        if _is_there(path := getattr(paths, name)):
            shown[name] = load_csv(path, again, columns, texts).to_dict("list")
    return shown


def _of_examples(model: Predictor, paths: ModelPaths) -> dict[str, Any]:
    """What the page has of the dataset; nothing where the data are not there.

    examples: some, as the network reads them, then some that it misreads. undecided: of a story, the words after which
    it goes on in several ways.
    """
    data = TaskPaths(model.info.task, paths.root)
    if not data.examples.is_file():
        return {"examples": [], "undecided": []}
    examples = load_examples(data)
    return {
        "examples": _examples(examples, paths),
        "undecided": _undecided(examples) if examples.info.autoregressive else [],
    }


def _undecided(examples: Examples) -> list[str]:
    followers: defaultdict[str, set[int]] = defaultdict(set)
    for code, target in zip(examples.encoded, examples.targets, strict=True):
        followers[" ".join(examples.info.class_names[i] for i in code)].add(int(target))
    return [words for words, targets in followers.items() if len(targets) > 1]


def _examples(examples: Examples, paths: ModelPaths) -> list[dict[str, Any]]:
    task = load_task(examples.info.task)
    info = examples.info
    encoded, targets = examples.split("train" if info.implicit_split else info.eval_split)
    rows = list(range(min(SHOWN // 2, len(encoded))))
    if paths.predictions.is_file() and not info.implicit_split:
        predicted = load_parquet(paths.predictions, repro("evaluate", paths.name), ["example", "target", "predicted"])
        wrong = predicted["example"][predicted["target"] != predicted["predicted"]]
        rows = list(dict.fromkeys([*rows, *wrong[wrong.between(0, len(encoded) - 1)]]))[:SHOWN]
    return [
        {
            "text": task.inputs.decode(encoded[row], info),
            "steps": task.inputs.step_names(encoded[row], info),
            "features": task.features(encoded[row : row + 1], info)[0].round(DIGITS).tolist(),
            "target": int(targets[row]),
        }
        for row in rows
    ]


def _is_there(path: Path) -> bool:
    """Whether a file is there. Raises PipelineError for a link, which may lead to what nobody meant to publish."""
    if path.is_symlink():
        raise PipelineError(f"{quoted(str(path), 200)} is a link; put the file itself there.")
    return path.is_file()


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise PipelineError(f"{quoted(str(path), 200)} is not UTF-8; save it as UTF-8.") from None


def _write_json(content: Any, path: Path) -> None:
    text = json.dumps(_without_nan(content), ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    path.write_text(text, encoding="utf-8")


def _without_nan(content: Any) -> Any:
    """The content, with null for numbers that JSON does not have."""
    if isinstance(content, dict):
        return {name: _without_nan(value) for name, value in content.items()}
    if isinstance(content, list | tuple):
        return [_without_nan(value) for value in content]
    return None if isinstance(content, float) and not isfinite(content) else content
