"""A worker that trains a network of params.yaml with one engine: `python -m bench.steps keras`.

It reads a line with a model, a batch size and seconds, trains for so long on random examples, and answers with the
milliseconds of a step. Engines run in processes of their own, with the same number of threads: ours, keras, torch.
"""

import json
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np

THREADS = 2
# The networks, as params.yaml has them: (steps, features), recurrent units, a dense layer before them, classes.
NETWORKS: dict[str, tuple[tuple[int, int], list[int], int | None, int]] = {
    "bits-lstm24": ((20, 1), [24], None, 21),
    "mnist-lstm256x2": ((28, 28), [256, 256], None, 10),
    "mnist-lstm128": ((28, 28), [128], 128, 10),
    "fable-lstm512x2": ((3, 1), [512, 512], None, 145),
    "fable-lstm512": ((3, 1), [512], None, 145),
}
BATCH_SIZES = (32, 128, 1000)
Train = Callable[[int], None]  # trains for so many steps


def data(model: str, batch_size: int) -> tuple[np.ndarray, np.ndarray]:
    """Random features and targets of one batch."""
    shape, _, _, classes = NETWORKS[model]
    rng = np.random.default_rng(1)
    return rng.random((batch_size, *shape), np.float32), rng.integers(0, classes, batch_size).astype(np.int32)


def keras_fit(model: str, batch_size: int, ours: bool) -> Train:
    """Training with Keras' `fit`: Keras' own layers, or ours as stages/train.py has them."""
    import keras
    import tensorflow as tf

    from pipeline.networks import keras_network, loss_and_optimizer
    from pipeline.recipe import Network, Recipe

    shape, units, dense, classes = NETWORKS[model]
    recipe = Recipe(steps=1, batch_size=batch_size, log_every=1, learning_rate=0.001, schedule="constant")
    if ours:
        network = keras_network.build(Network(cell="lstm", units=units, dense=dense), recipe, shape, classes)
        built = keras_network.InHalves(network)
        optimizer, loss = loss_and_optimizer.optimizer(recipe, 1), loss_and_optimizer.loss(recipe, classes)
    else:
        layers: list[Any] = [keras.Input(shape)] + ([keras.layers.Dense(dense)] if dense else [])
        layers += [keras.layers.LSTM(n, return_sequences=i + 1 < len(units)) for i, n in enumerate(units)]
        built = keras.Sequential([*layers, keras.layers.Dense(classes)])
        optimizer, loss = keras.optimizers.Adam(1e-3), keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    built.compile(optimizer, loss, steps_per_execution=5, jit_compile=False)
    options = tf.data.Options()
    options.autotune.enabled = False  # as in training.batches: at each end of `fit`, its thread would be waited for
    batches = tf.data.Dataset.from_tensors(data(model, batch_size)).repeat().with_options(options)
    return lambda steps: built.fit(batches, steps_per_epoch=steps, verbose=0)


def torch_loop(model: str, batch_size: int) -> Train:
    """The usual loop of PyTorch."""
    import torch

    torch.set_num_threads(THREADS)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    shape, units, dense, classes = NETWORKS[model]

    class Net(torch.nn.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.dense = torch.nn.Linear(shape[1], dense) if dense else torch.nn.Identity()
            self.lstm = torch.nn.LSTM(dense or shape[1], units[0], len(units), batch_first=True)
            self.logits = torch.nn.Linear(units[-1], classes)

        def forward(self, x: Any) -> Any:
            return self.logits(self.lstm(self.dense(x))[0][:, -1])

    net = Net().to(device)
    optimizer = torch.optim.Adam(net.parameters(), 1e-3)
    x, y = (torch.from_numpy(part).to(device) for part in data(model, batch_size))

    def train(steps: int) -> None:
        for _ in range(steps):
            optimizer.zero_grad()
            torch.nn.functional.cross_entropy(net(x), y.long()).backward()
            optimizer.step()
        if device == "cuda":
            torch.cuda.synchronize()

    return train


def make(engine: str, model: str, batch_size: int) -> Train:
    """A training that has run its first steps, so that its graph is built."""
    train = torch_loop(model, batch_size) if engine == "torch" else keras_fit(model, batch_size, engine == "ours")
    train(5)
    return train


def main(engine: str) -> None:
    """Answer requests until standard input ends."""
    if engine == "ours":
        from pipeline.training import environment

        environment.make_deterministic(1)
    elif engine == "keras":
        import tensorflow as tf

        tf.config.threading.set_intra_op_parallelism_threads(THREADS)
        tf.config.threading.set_inter_op_parallelism_threads(THREADS)
    trainings: dict[tuple[str, int], Train] = {}
    print("ready", flush=True)
    for line in sys.stdin:
        request = json.loads(line)
        key = request["model"], request["batch_size"]
        if key not in trainings:
            trainings.clear()  # one at a time keeps the memory small
            trainings[key] = make(engine, *key)
        train, done, started = trainings[key], 0, time.perf_counter()
        while time.perf_counter() - started < request["seconds"]:
            train(5)
            done += 5
        print(json.dumps(1000 * (time.perf_counter() - started) / done), flush=True)


if __name__ == "__main__":
    main(sys.argv[1])
