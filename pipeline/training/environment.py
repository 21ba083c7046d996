"""The device and the library versions that the bits of a training depend on."""

import os
import platform
import resource
import sys
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from pipeline.recipe import Network, Recipe

# Read when TensorFlow runs its first operation. Each matrix product takes one thread, so that its sums do not depend on
# the number of cores; two products run at the same time.
THREADS = {"TF_NUM_INTRAOP_THREADS": "1", "TF_NUM_INTEROP_THREADS": "2"}


def make_deterministic(seed: int) -> None:
    """Seed all randomness, and select kernels that give the same bits each time."""
    os.environ |= THREADS
    keras.utils.clear_session()  # layers are numbered from one again, as in a new process
    keras.utils.set_random_seed(seed)
    tf.config.experimental.enable_op_determinism()


def describe(network: Network, recipe: Recipe) -> dict[str, Any]:
    """The device, whether cuDNN computes the recurrent layers, and the versions of Python and the libraries."""
    gpus = tf.config.list_physical_devices("GPU")
    device = f"CPU ({os.cpu_count()} cores, {platform.machine()})"
    if gpus:
        device = tf.config.experimental.get_device_details(gpus[0]).get("device_name", "GPU")
    return {
        "device": device,
        # Keras gives cuDNN these two cells. It gives no cell states, from which a count is read.
        "cudnn": bool(gpus) and network.cell in ("lstm", "gru") and recipe.readout != "count",
        **versions(),
    }


def versions() -> dict[str, str]:
    """Those of Python and of the libraries that compute."""
    return {
        "python": platform.python_version(),
        "tensorflow": tf.__version__,
        "keras": keras.__version__,
        "numpy": np.__version__,
    }


def peak_memory_mib() -> int:
    """The largest resident size that this process has had, in MiB."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak // (1024 * 1024 if sys.platform == "darwin" else 1024)  # macOS counts bytes, Linux KiB
