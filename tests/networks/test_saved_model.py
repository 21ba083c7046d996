"""A SavedModel has the same bytes whenever it is written from the same weights, in any process."""

from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from pipeline.networks import keras_network, saved_model
from pipeline.recipe import Network
from tests.harness import project
from tests.harness.recipes import CELLS, recipe

SHAPE, CLASSES = (5, 3), 4


def build(cell: str) -> keras.Model:
    """An unrolled network with weights that are the same each time."""
    keras.utils.clear_session()  # as stages.export does
    network = Network.model_validate({"cell": cell, "units": [6, 4], "dense": 3})
    model = keras_network.with_probabilities(
        keras_network.build(network, recipe(dropout=0.5), SHAPE, CLASSES, unroll=True)
    )
    rng = np.random.default_rng(1)
    model.set_weights([rng.normal(size=value.shape) for value in model.get_weights()])
    return model


def write(cell: str, folder: Path) -> dict[str, bytes]:
    """The files of a SavedModel by their paths, empty folders, too."""
    saved_model.write(build(cell), SHAPE, folder)
    return {str(path.relative_to(folder)): path.read_bytes() if path.is_file() else b"" for path in folder.rglob("*")}


@pytest.mark.slow
@pytest.mark.parametrize("cell", CELLS)
def test_it_has_the_same_bytes_each_time_and_predicts_what_keras_predicts(cell: str, tmp_path: Path) -> None:
    first, again = (write(cell, tmp_path / name) for name in ("first", "again"))
    assert first == again
    assert set(first) <= {"saved_model.pb", "fingerprint.pb"}
    x = np.random.default_rng(2).normal(size=(7, *SHAPE)).astype(np.float32)
    predict = tf.saved_model.load(str(tmp_path / "first")).signatures["serving_default"]
    expected = build(cell)(x, training=False)
    for batch in (1, 7):
        result = predict(sequence=tf.constant(x[:batch]))["probabilities"]
        np.testing.assert_allclose(result, expected[:batch], rtol=0, atol=2e-6)


@pytest.mark.slow
def test_another_process_writes_the_same_bytes(tmp_path: Path) -> None:
    code = (
        "from pathlib import Path\nfrom tests.networks.test_saved_model import write\n"
        f"for cell in {CELLS!r}: write(cell, Path({str(tmp_path)!r}) / cell)"
    )
    project.run(project.ROOT, "python", "-c", code, PYTHONHASHSEED="7", KERAS_HOME=str(tmp_path / "keras"))
    for cell in CELLS:
        for name, content in write(cell, tmp_path / "here" / cell).items():
            assert (tmp_path / cell / name).read_bytes() == content, name
