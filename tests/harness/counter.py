"""A network that counts ones, by weights that are set by hand."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from pipeline.inference.onnx_session import Session
from pipeline.networks import onnx_network
from pipeline.recipe import Network
from tests.harness.recipes import recipe

UNITS, CLASSES = 3, 9
COUNTS = {0.0: 0, 1.0: 1}
Weights = dict[str, list[Any]]


def weights(error: float = 0.0) -> Weights:
    """A network of three units that counts; a one adds 1 + error."""
    kernel, bias = np.zeros((1, 4 * UNITS)), np.zeros(4 * UNITS)
    bias[UNITS : 2 * UNITS] = 40  # the forget gate
    kernel[0, 2 * UNITS : 3 * UNITS] = [0.5, -0.8, 1.2]  # the candidate is 0 after a zero
    added = 0.5 * np.tanh(np.float32(kernel[0, 2 * UNITS : 3 * UNITS]).astype(float))
    readout = (1 + error) * np.sign(added) / np.abs(added).sum()
    layers = {"lstm_1": [kernel, np.zeros((UNITS, 4 * UNITS)), bias], "count": [readout[:, None], np.zeros(1)]}
    return {name: [each.astype(np.float32) for each in layer] for name, layer in layers.items()}


def export(folder: Path, layers: Weights, network: Network | None = None) -> Path:
    graph = onnx_network.build(
        network or Network(units=[UNITS]),
        recipe(readout="count", supervise="every-step"),
        layers | {"logits": [np.float32(5.0)]},
        (8, 1),
        CLASSES,
    )
    onnx.save(graph, folder / "model.onnx")
    return folder / "model.onnx"


def counts(path: Path, strings: Iterable[Iterable[int]]) -> np.ndarray:
    sequences = np.array(list(strings), np.float32)[:, :, None]
    return Session(path, "again").run(sequences)["count"][:, 0]
