"""The card of a dataset: where it comes from, its splits, its limits; as Markdown, and as Croissant for programs.

Source of the format: MLCommons, "Croissant Format Specification", version 1.0.
"""

import hashlib
from typing import Any

from tabulate import tabulate

from pipeline import tasks
from pipeline.dataset import DatasetInfo, load_examples
from pipeline.errors import printable
from pipeline.files import load_csv
from pipeline.paths import TaskPaths, repro

COLUMNS = {"split": "sc:Text", "class": "sc:Text", "examples": "sc:Integer"}  # of balance.csv
FORMATS = {".npy": "application/octet-stream", ".json": "application/json", ".csv": "text/csv"}
# The terms of the format, as all its files have them; those of which are identifiers or JSON.
TERMS = """citeAs column equivalentProperty extract field fileObject fileProperty fileSet format includes isLiveDataset
jsonPath key md5 parentField path recordSet references regex repeated replace samplingRate separator source subField
transform"""
CONTEXT: dict[str, Any] = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "sc": "https://schema.org/",
    "cr": "http://mlcommons.org/croissant/",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "dct": "http://purl.org/dc/terms/",
    "conformsTo": "dct:conformsTo",
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "data": {"@id": "cr:data", "@type": "@json"},
    "examples": {"@id": "cr:examples", "@type": "@json"},
} | {term: f"cr:{term}" for term in TERMS.split()}


def card(name: str) -> str:
    """The card of the dataset of a task, as Markdown. Raises PipelineError if a file is missing or damaged."""
    paths = TaskPaths(name)
    info = load_examples(paths).info
    origin = tasks.load(name).about.origin(info)
    facts = {
        "task": name,
        "source": origin.source or "not known",
        "licence": origin.licence or "not known",
        "citation": origin.citation,
        "an example": info.encoding,
        "shape": f"{info.shape[0]:,} steps of {info.shape[1]:,}",
        "classes": f"{len(info.class_names):,}",
    }
    sections = {
        "Origin": tabulate([row for row in facts.items() if row[1]], ["", ""], "pipe"),
        "Splits": _splits(info, paths),
        "Limits": "\n".join(f"- {limit}" for limit in (*origin.limits, *_limits(info))),
        "How to make it again": f"```console\n$ {repro('split', name)}\n```",
    }
    text = "\n\n".join(f"## {title}\n\n{part}" for title, part in sections.items())
    return printable(f"# {info.dataset}\n\n{origin.description}\n\n{text}\n")


def croissant(name: str) -> dict[str, Any]:
    """The same for programs, as JSON-LD; its addresses are names of files in data/split/TASK.

    Raises PipelineError if a file is missing or damaged.
    """
    paths = TaskPaths(name)
    info = load_examples(paths).info
    origin = tasks.load(name).about.origin(info)
    files = [paths.examples, paths.info, paths.balance]
    address = origin.source if "://" in origin.source else ""
    known = {"license": origin.licence, "url": address, "citeAs": origin.citation}
    return {
        "@context": CONTEXT,
        "@type": "sc:Dataset",
        "conformsTo": "http://mlcommons.org/croissant/1.0",
        "name": info.dataset,
        "description": f"{origin.description} {info.encoding}.",
        **{key: value for key, value in known.items() if value},
        "distribution": [
            {
                "@type": "cr:FileObject",
                "@id": path.name,
                "name": path.name,
                "contentUrl": path.name,
                "contentSize": f"{path.stat().st_size} B",
                "encodingFormat": FORMATS[path.suffix],
                "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
            }
            for path in files
        ],
        "recordSet": [
            {
                "@type": "cr:RecordSet",
                "@id": "balance",
                "name": "balance",
                "description": "How many examples of each class each split has.",
                "field": [_field(paths.balance.name, column, kind) for column, kind in COLUMNS.items()],
            }
        ],
    }


def _field(file: str, column: str, kind: str) -> dict[str, Any]:
    source = {"fileObject": {"@id": file}, "extract": {"column": column}}
    return {"@type": "cr:Field", "@id": f"balance/{column}", "name": column, "dataType": kind, "source": source}


def _splits(info: DatasetInfo, paths: TaskPaths) -> str:
    balance = load_csv(paths.balance, repro("split", paths.name), ["examples"], ["split", "class"])
    rows = []
    for split, size in info.splits.items():
        table = balance[balance["split"] == split].sort_values("examples", kind="stable")
        named = [f"{label} ({count:,})" for label, count in zip(table["class"], table["examples"], strict=True)]
        rows.append([split, f"{size:,}", *(named or [""])[:1], *named[-1:], "evaluated" * (split == info.eval_split)])
    return tabulate(rows, ["split", "examples", "rarest class", "most frequent", ""], "pipe", disable_numparse=True)


def _limits(info: DatasetInfo) -> list[str]:
    return [f"A model of it knows its {len(info.class_names):,} classes and no others."]
