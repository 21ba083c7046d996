"""The bill of materials: the packages that the project needs, its exported models and their data, with licences.

Format: CycloneDX 1.6 (ECMA-424). It has no time and no random number: the same environment gives the same file.
"""

import hashlib
from collections.abc import Iterator
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from typing import Any

from packaging.licenses import InvalidLicenseExpression, canonicalize_license_expression
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from tabulate import tabulate

from pipeline import __version__, tasks
from pipeline.dataset import load_info
from pipeline.errors import shortened
from pipeline.paths import ModelPaths

PROJECT = "lstm-pipeline"
UNKNOWN = "not known"
LICENCE = 60  # characters of a licence's name; a longer text is the licence itself
CLASSIFIER = "License :: "


def bill(models: list[str]) -> dict[str, Any]:
    """The bill of materials as JSON: the packages, and those of these models that are exported."""
    exported = [name for name in models if ModelPaths(name).info.is_file()]
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {"component": _component("application", PROJECT, "MIT") | {"version": __version__}},
        "components": [
            *(_package(package) for package in packages()),
            *(_model(ModelPaths(name)) for name in exported),
            *{data["bom-ref"]: data for data in (_data(ModelPaths(name)) for name in exported)}.values(),
        ],
    }


def licences() -> str:
    """A table of the packages and their licences."""
    rows = [(package.name, package.version, licence(package)) for package in packages()]
    return tabulate(rows, ["package", "version", "licence"], disable_numparse=True)


def packages() -> list[Distribution]:
    """What the project needs, directly or not, as it is installed here; without tools of development."""
    found: dict[str, Distribution] = {}
    waiting = [(PROJECT, frozenset[str]())]
    seen = set()
    while waiting:
        name, extras = waiting.pop()
        if (name, extras) in seen:
            continue
        seen.add((name, extras))
        try:
            found[name] = distribution(name)
        except PackageNotFoundError:  # of another platform, or an extra that is not installed
            continue
        waiting += _needed(found[name], extras)
    return [found[name] for name in sorted(found) if name != PROJECT]


def _needed(package: Distribution, extras: frozenset[str]) -> Iterator[tuple[str, frozenset[str]]]:
    for text in package.requires or []:
        need = Requirement(text)
        if need.marker is None or any(need.marker.evaluate({"extra": extra}) for extra in extras or {""}):
            yield canonicalize_name(need.name), frozenset(need.extras)


def licence(package: Distribution) -> str:
    """The licence that a package names: its SPDX expression, a name, or what it is classified as."""
    texts: dict[str, Any] = package.metadata.json
    if expression := texts.get("license_expression"):
        return str(expression)
    name = shortened(texts.get("license") or "", 10 * LICENCE)
    if name and len(name) <= LICENCE and name != "UNKNOWN":
        return name
    classes = [each.split(" :: ")[-1] for each in texts.get("classifier", []) if each.startswith(CLASSIFIER)]
    return " AND ".join(classes) or UNKNOWN


def _package(package: Distribution) -> dict[str, Any]:
    component = _component("library", package.name, licence(package))
    address = f"pkg:pypi/{canonicalize_name(package.name)}@{package.version}"
    return component | {"version": package.version, "bom-ref": address, "purl": address}


def _model(paths: ModelPaths) -> dict[str, Any]:
    """An exported model, which the hash of its ONNX file names."""
    with paths.onnx.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    hashes = [{"alg": "SHA-256", "content": digest}]
    return _component("machine-learning-model", paths.name, "MIT") | {
        "bom-ref": f"model:{paths.name}",
        "hashes": hashes,
    }


def _data(paths: ModelPaths) -> dict[str, Any]:
    """The data that an exported model learned."""
    info = load_info(paths.info, ("export", paths.name))
    origin = tasks.load(info.task).about.origin(info)
    about = {"bom-ref": f"data:{info.dataset}", "description": origin.description}
    return _component("data", info.dataset, origin.licence) | about


def _component(kind: str, name: str, licence: str) -> dict[str, Any]:
    component: dict[str, Any] = {"type": kind, "name": name}
    if licence and licence != UNKNOWN:
        try:
            component["licenses"] = [{"expression": canonicalize_license_expression(licence)}]
        except InvalidLicenseExpression:  # a name or a sentence
            component["licenses"] = [{"license": {"name": licence}}]
    return component
