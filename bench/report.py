"""The results of `make bench` as tables and plots."""

import statistics
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from tabulate import tabulate


def write(results: dict[str, Any], folder: Path) -> None:
    """Write README.md and its figures into `folder`, from what results.json holds."""
    parts = [
        "# Measured by `make bench`",
        f"On {results['machine']}. Seconds of other machines differ; ratios less so.",
    ]
    for name, section in SECTIONS.items():
        if name in results:
            parts += section(results[name])
    if "steps" in results:
        _plot_steps(results["steps"], folder / "steps.png")
    if "scale" in results:
        _plot_scale(results["scale"], folder / "scale.png")
    (folder / "README.md").write_text("\n\n".join(parts) + "\n", encoding="utf-8")


def _table(rows: list[list[Any]], headers: list[str]) -> str:
    return tabulate(rows, headers, "pipe", disable_numparse=True, colalign=["left"] + ["right"] * (len(headers) - 1))


def _ratio(ratio: dict[str, float] | None) -> str:
    return f"{ratio['median']:.2f} ({ratio['lowest']:.2f} to {ratio['highest']:.2f})" if ratio else "-"


def _steps(rows: list[dict[str, Any]]) -> list[str]:
    cells = []
    for row in rows:
        ms = {name: statistics.median(values) for name, values in row["ms"].items()}
        ours, keras, torch = (f"{ms[name]:.1f}" if name in ms else "-" for name in ("ours", "keras", "torch"))
        ratios = [_ratio(row["ratio"].get(name)) for name in ("keras", "torch")]
        cells.append([f"{row['model']}, batch {row['batch_size']}", ours, keras, torch, *ratios])
    headers = ["network", "ours, ms", "Keras, ms", "PyTorch, ms", "Keras / ours", "PyTorch / ours"]
    note = "Milliseconds of a training step, on two threads. Above 1, ours is faster."
    return ["## Training steps", note, _table(cells, headers), "![Training steps](steps.png)"]


def _time_to_published(rows: list[dict[str, Any]]) -> list[str]:
    seconds = {(row["model"], row["recipe"]): row for row in rows}
    cells = []
    for model in dict.fromkeys(row["model"] for row in rows):
        fast, published = seconds[model, "fast"], seconds[model, "published"]
        cells.append(
            [
                model,
                *(f"{row['seconds']:.0f} s, {row['accuracy']:.2%}" for row in (fast, published)),
                f"{published['seconds'] / fast['seconds']:.1f}",
            ]
        )
    note = "Seconds of train, export and evaluate, start-up included, and the accuracy that they reach."
    return ["## Time of the recipes", note, _table(cells, ["model", "fast", "published", "published / fast"])]


def _inference(content: dict[str, Any]) -> list[str]:
    start = content["cold_start"]
    ours, bare = statistics.median(start["pipeline"]), statistics.median(start["bare"])
    cells = []
    for name in ("strings", "pictures"):
        stream = content[name]
        rate = stream["lines"] / stream["all_seconds"]
        memory = [f"{stream[f'{part}_mib']:.0f} MiB" for part in ("tenth", "all")]
        cells.append([f"{stream['lines']:,} {name}", f"{stream['all_seconds']:.1f} s", f"{rate:,.0f}", *memory])
    headers = ["stream", "time", "lines a second", "memory of the first tenth", "memory of all"]
    note = (
        f"`pipeline predict` of one string takes {ours:.2f} s; Python alone with the same ONNX file {bare:.2f} s: "
        f"{_ratio(start['ratio'])} times."
    )
    return ["## Prediction", note, _table(cells, headers)]


def _pictures(content: dict[str, Any]) -> list[str]:
    cells = []
    models = content["models"]
    for place, group in enumerate(models[0]["groups"]):
        shares = [model["groups"][place]["right"] / group["pictures"] for model in models]
        label = f"{group['kind']}, difficulty {group['difficulty']}"
        cells.append([label, group["pictures"], *(f"{share:.1%}" for share in shares)])
    cells.append(["all", models[0]["pictures"], *(f"{model['accuracy']:.1%}" for model in models)])
    refused = ", ".join(f"{kind} {share:.0%}" for kind, share in content["refused"].items())
    note = (
        "Rendered pictures of one digit that are read right, see bench/handwriting.py. "
        f"Of scans with five digits, {content['five_digits_counted']:.0%} are counted right. "
        f"Of pictures without a digit, these are refused: {refused}."
    )
    return ["## Pictures", note, _table(cells, ["pictures", "number", *(model["model"] for model in models)])]


def _orchestration(content: dict[str, Any]) -> list[str]:
    cells = []
    for row in content["rows"]:
        seconds = {name: statistics.median(values) for name, values in row["seconds"].items()}
        before = f"{seconds['before']:.1f}" if "before" in seconds else "-"
        cells.append([row["command"], before, f"{seconds['now']:.1f}", _ratio(row["ratio"])])
    note = "Seconds of commands from start to end, medians, in a clone where bits-lstm24 alone is trained."
    if content["before"]:
        note += f" Before: at the commit {content['before']}, measured in turns with this one."
    return ["## Orchestration", note, _table(cells, ["command", "before, s", "now, s", "before / now"])]


def _cluster(content: dict[str, Any]) -> list[str]:
    seconds = [[name, f"{statistics.median(values):.1f}"] for name, values in content["seconds"].items()]
    return [
        "## Cluster",
        "A trial of bits-lstm24 with 2,000 steps: by `dvc repro` alone, and by `pipeline sweep`, with the start of Ray "
        f"and the record in MLflow. A sweep of one trial takes {_ratio(content['trial / bare'])} times as long. Four "
        f"trials one at a time take {_ratio(content['one at a time / two at a time'])} times as long as two at a time.",
        _table(seconds, ["", "seconds"]),
        f"A trial sends {content['sent_mib']:.1f} MiB. The driver stores them in {content['store_seconds']:.2f} s, and "
        f"records them in {content['record_seconds']:.1f} s. With these durations, a simulation of ten trials on each "
        "node (only the scheduling is simulated). Load: seconds of storing and recording that come to the driver in a "
        "second. " + _saturated(content),
        _simulated(content["simulation"]),
        "Where workers push to DVC's remote and record to MLflow's server themselves, the driver gets hashes, which it "
        f"stores in {content['store_pushed_seconds']:.3f} s, and asks the server for a run in "
        f"{content['ask_seconds']:.3f} s:",
        _simulated(content["simulation_pushed"]),
    ]


def busy_nodes(content: dict[str, Any]) -> str:
    """How much of their time the machines of simulated clusters work, in a sentence for documents."""

    def shares(rows: list[dict[str, Any]]) -> str:
        return ", ".join(f"{row['busy']:.0%} on {row['nodes']:,}" for row in rows)

    return (
        "Machines run trials for this share of their time, by how many there are: "
        f"{shares(content['simulation_pushed'])} where workers push and record themselves; "
        f"{shares(content['simulation'])} where the driver does it."
    )


def _simulated(simulation: list[dict[str, Any]]) -> str:
    rows = []
    for row in simulation:
        minutes = (f"{row[name] / 60:.1f}" for name in ("trained_seconds", "total_seconds"))
        rows.append([row["nodes"], row["trials"], *minutes, f"{row['busy']:.0%}", f"{row['driver_load']:.2f}"])
    return _table(rows, ["nodes", "trials", "trained, min", "recorded, min", "nodes busy", "load of the driver"])


def _saturated(content: dict[str, Any]) -> str:
    full = [row for row in content["simulation"] if row["driver_load"] > 1]
    if not full:
        return "In none of them does the driver saturate."
    part = max(
        ("record_seconds", "the record in MLflow"), ("store_seconds", "storing"), key=lambda each: content[each[0]]
    )
    return (
        f"From {full[0]['nodes']:,} nodes on, the driver saturates first: {part[1]} takes the larger part of its time."
    )


def _workers(content: dict[str, Any]) -> list[str]:
    rows = []
    for name, steps in content["steps_per_second"].items():
        seconds = content["evaluation_seconds"][name]
        rows.append([name, f"{statistics.median(steps):.1f}", f"{statistics.median(seconds):.1f}"])
    return [
        "## Several workers",
        "On this one machine, whose cores all workers share: steps a second of an epoch of mnist-lstm128 (batches of "
        "128), and seconds of an evaluation of bits-lstm24 with 2^22 strings, start-up included. "
        f"Two workers make {_ratio(content['steps: 2 workers / 1'])} times as many steps a second as one; one worker "
        f"takes {_ratio(content['evaluation: 1 worker / 2'])} times as long as two for the evaluation.",
        _table(rows, ["", "steps a second", "evaluation, s"]),
    ]


def many_bits_costs(content: dict[str, Any]) -> str:
    """What an evaluation of many bits costs, in a sentence for documents."""
    measured = ", ".join(
        f"{each['length']} bits take {each['seconds']:.0f} seconds and {each['peak_mib']:.0f} MiB"
        for each in content["measured"]
    )
    whole = content["extrapolated"]
    hours = f"{whole['length']} bits take {whole['seconds'] / 3600:.1f} hours"
    return f"In one process, {measured}. By the number of strings, {hours} in the same memory."


def _many_bits(content: dict[str, Any]) -> list[str]:
    rows = [
        [
            str(each["length"]),
            f"{each['seconds']:.0f}",
            f"{2 ** each['length'] / each['seconds']:,.0f}",
            f"{each['peak_mib']:.0f}",
            str(each["wrong"]),
        ]
        for each in content["measured"]
    ]
    return [
        "## Many bits",
        f"Seconds and peak memory of `pipeline evaluate bits-lstm24`. {many_bits_costs(content)}",
        _table(rows, ["bits", "seconds", "strings a second", "MiB", "wrong"]),
    ]


def _site(content: dict[str, Any]) -> list[str]:
    starts = content["start_seconds"]
    errors = f"{len(content['errors'])} errors" if content["errors"] else "no error"
    differences = content["differences"]
    rows = [[name, f"{ms:.1f}", f"{differences[name]:.0e}"] for name, ms in content["answer_ms"].items()]
    return [
        "## The page",
        f"`pipeline demo` answers {statistics.median(starts):.1f} seconds after its start ({min(starts):.1f} to "
        f"{max(starts):.1f}); the first tab is loaded {content['first_tab_ms']:.0f} ms after it was asked for. "
        f"{content['sessions']} people who load files and have a picture read for {content['seconds']} seconds get "
        f"{content['answers']:,} answers with {errors}: half of them within {content['median_ms']:.0f} ms, 95% within "
        f"{content['slowest_of_20_ms']:.0f} ms. Memory at the end: {content['memory_mib']:.0f} MiB.",
        "What the browser needs for an answer, in milliseconds: the pixels of a drawing, all steps, the probabilities "
        "after each. Beside it: the largest difference of a probability from ONNX Runtime's, of 1,000 examples (of the "
        "fable, all).",
        _table(rows, ["model", "ms", "difference"]),
    ]


def growth(rows: list[dict[str, Any]], command: str, unit: str) -> float:
    """By which power of the size a cost grows between the two largest sizes: 1 is linearly.

    Between the smallest and the largest, the time to start would hide it.
    """
    first, last = rows[-2:]
    before, after = (row["costs"][command][unit] for row in (first, last))
    return float(np.log(after / before) / np.log(last["size"] / first["size"]))


def _scale(content: dict[str, list[dict[str, Any]]]) -> list[str]:
    cells = []
    for axis, rows in content.items():
        for command in rows[-1]["costs"]:
            known = [row for row in rows if command in row["costs"]]
            sizes = f"{known[0]['size']:,} to {known[-1]['size']:,} {axis}"
            ends = [known[place]["costs"][command] for place in (0, -1)]
            seconds, mib = (" to ".join(f"{end[unit]:{form}}" for end in ends) for unit, form in COSTS.items())
            cells.append([f"{command}, {sizes}", seconds, f"{growth(known, command, 'seconds'):.2f}", mib])
    note = (
        "Seconds and peak memory of commands while one thing grows and all else is small, at both ends, and the power "
        "of the size by which the time grows between the two largest sizes: 0 is not at all, 1 linearly. A recurrent "
        "layer has a weight for each pair of units, so its work grows with their square."
    )
    headers = ["command", "seconds", "power", "MiB"]
    return ["## Cost against size", note, _table(cells, headers), "![Cost against size](scale.png)"]


COSTS = {"seconds": ".1f", "mib": ".0f"}  # of a command, with their formats

SECTIONS: dict[str, Callable[[Any], list[str]]] = {
    "steps": _steps,
    "time_to_published": _time_to_published,
    "inference": _inference,
    "pictures": _pictures,
    "orchestration": _orchestration,
    "scale": _scale,
    "site": _site,
    "cluster": _cluster,
    "workers": _workers,
    "many_bits": _many_bits,
    "gpu": lambda text: ["## GPU", f"{text[0].upper()}{text[1:]}."],
}


def _plot_steps(rows: list[dict[str, Any]], path: Path) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 4.5), layout="constrained")
    axes = figure.subplots()
    places = np.arange(len(rows))
    for offset, (name, colour) in zip((-0.2, 0.2), (("keras", "#c0392b"), ("torch", "#2471a3")), strict=True):
        ratios = [row["ratio"].get(name) for row in rows]
        shown = [ratio["median"] if ratio else np.nan for ratio in ratios]
        spread = [[r["median"] - r["lowest"] if r else 0, r["highest"] - r["median"] if r else 0] for r in ratios]
        label = {"keras": "Keras", "torch": "PyTorch"}[name]
        axes.bar(places + offset, shown, 0.36, yerr=np.transpose(spread), color=colour, label=label, capsize=2)
    axes.axhline(1, color="#555555", linestyle="--")
    axes.set_xticks(places, [f"{row['model']}\n{row['batch_size']}" for row in rows], rotation=60, fontsize=7)
    axes.set(ylabel="time of its step / time of ours")
    axes.legend()
    figure.savefig(path, dpi=110, metadata={"Software": None})


def _plot_scale(content: dict[str, list[dict[str, Any]]], path: Path) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(3 * len(content), 6), layout="constrained")
    places = figure.subplots(2, len(content), sharex="col", sharey="row", squeeze=False)  # slopes can be compared
    for column, (axis, rows) in enumerate(content.items()):
        for row, (unit, title) in enumerate({"seconds": "seconds", "mib": "peak memory, MiB"}.items()):
            axes = places[row, column]
            for command in rows[-1]["costs"]:
                points = [(each["size"], each["costs"][command][unit]) for each in rows if command in each["costs"]]
                axes.plot(*zip(*points, strict=True), marker=".", label=command)
            axes.set(xscale="log", yscale="log", xlabel=axis if row else "")
            if column == 0:
                axes.set_ylabel(title)
            if row == 0:
                axes.legend(fontsize=7)
    figure.savefig(path, dpi=110, metadata={"Software": None})
