"""The weights that a training wrote, read without TensorFlow.

Source of the layout: Keras 3, `keras.src.saving.saving_lib`. Each layer is a group; its name is an attribute of `vars`.
The weights of a recurrent layer are those of its cell.
"""

from pathlib import Path

import h5py
import numpy as np


def read(path: Path) -> dict[str, list[np.ndarray]]:
    """The weights of each layer by its name, in Keras' order. Layers without weights are left out.

    Raises ValueError if the file is no such file, or if a part of it is in another file, which no hash covers.
    """
    found: dict[str, list[np.ndarray]] = {}
    try:
        with h5py.File(path) as file:
            complete = not _has_parts_elsewhere(file)
            for layer in file["layers"].values() if complete else ():
                arrays = layer["cell/vars"] if "cell/vars" in layer else layer["vars"]
                if len(arrays):
                    found[str(layer["vars"].attrs["name"])] = [arrays[str(i)][()] for i in range(len(arrays))]
    except Exception as error:  # the errors of h5py have no class in common
        raise ValueError("it holds no weights of a Keras model") from error
    if not complete:
        raise ValueError("a part of it is in another file")
    return found


def _has_parts_elsewhere(file: h5py.File) -> bool:
    """Whether it names other files that hold values of its own: by a link, or as storage."""
    found: list[bool] = []

    def look(name: str, each: h5py.Group | h5py.Dataset) -> None:
        found.append(isinstance(each, h5py.Dataset) and bool(each.external or each.is_virtual))

    file.visititems(look)
    file.visititems_links(lambda name, link: found.append(isinstance(link, h5py.ExternalLink)))
    return any(found)
