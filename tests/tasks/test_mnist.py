import functools
import gzip
import hashlib
import http.server
import json
import logging
import os
import shutil
import struct
import threading
import zlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pipeline.dataset import SPLITS, DatasetInfo, Examples
from pipeline.errors import PipelineError
from pipeline.tasks.mnist import features
from pipeline.tasks.mnist.data import Data
from pipeline.tasks.mnist.evaluation import Evaluation, plot_errors
from pipeline.tasks.mnist.inputs import Inputs
from pipeline.tasks.mnist.raw import idx_files
from tests.harness import datasets
from tests.harness.examples import predictions
from tests.harness.model import FunctionModel
from tests.harness.project import NOBODY

data, evaluation, inputs = Data(), Evaluation(), Inputs()

INFO = DatasetInfo("mnist", "mnist", False, (28, 28), [str(i) for i in range(10)], "test", False, "", {"test": 300})
REAL = {"dataset": "mnist", "stand_in": False}
STAND_IN = {"dataset": "uci-digits", "stand_in": True}


@pytest.fixture(autouse=True)
def no_keras_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))


@pytest.fixture
def mnist_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with MNIST itself, which MNIST_DIR names; two of its four files are compressed."""
    folder = tmp_path / "mnist"
    folder.mkdir()
    for name, content in datasets.mnist().items():
        if name.startswith("train"):
            (folder / name).write_bytes(content)
        else:
            (folder / f"{name}.gz").write_bytes(gzip.compress(content, compresslevel=1))
    monkeypatch.setenv("MNIST_DIR", str(folder))
    return folder


def split(folder: Path, validation: int = 5000) -> Examples:
    return data.split(data.Split(validation=validation), folder, np.random.default_rng(1))


def dataset(folder: Path) -> object:
    return json.loads((folder / "dataset.json").read_text())


@pytest.mark.mnist
def test_the_folder_of_mnist_dir_gives_mnist(tmp_path: Path, mnist_dir: Path) -> None:
    idx_files.fetch([NOBODY], tmp_path)
    sums = {name: hashlib.sha256((tmp_path / name).read_bytes()).hexdigest() for name in idx_files.SHA256}
    assert sums == idx_files.SHA256
    examples = split(tmp_path)
    assert (examples.info.dataset, examples.info.stand_in) == ("mnist", False)
    assert [len(examples.split(name)[0]) for name in SPLITS] == [55_000, 5_000, 10_000]
    digit = features.features(examples.encoded[:1], examples.info)
    assert (digit.min(), digit.max(), digit.shape) == (0, 1, (1, 28, 28))


@pytest.mark.mnist
def test_keras_cache_gives_mnist(tmp_path: Path) -> None:
    cache = tmp_path / "keras" / "datasets"
    cache.mkdir(parents=True)
    arrays = {key: datasets.mnist_array(name) for name, key in datasets.MNIST.items()}
    np.savez(cache / "mnist.npz", allow_pickle=False, **arrays)
    idx_files.fetch([NOBODY], tmp_path / "raw")
    assert dataset(tmp_path / "raw") == REAL
    assert (tmp_path / "raw" / "t10k-images-idx3-ubyte").read_bytes() == datasets.mnist()["t10k-images-idx3-ubyte"]


def test_a_damaged_keras_cache_is_passed_over(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    cache = tmp_path / "keras" / "datasets"
    cache.mkdir(parents=True)
    np.savez_compressed(cache / "mnist.npz", allow_pickle=False, x_train=np.arange(1000))
    whole = (cache / "mnist.npz").read_bytes()
    for place in range(40, len(whole) - 100, 17):
        (cache / "mnist.npz").write_bytes(whole[:place] + bytes([whole[place] ^ 255]) + whole[place + 1 :])
        assert idx_files._find([]) is None
    assert f"could not read {cache / 'mnist.npz'}" in caplog.text


@pytest.fixture
def mirror(tmp_path: Path) -> Iterator[tuple[str, Path]]:
    folder = tmp_path / "mirror"
    folder.mkdir()

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            """Print nothing."""

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(folder)))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}/", folder
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.mnist
def test_the_second_mirror_gives_mnist_if_the_first_is_down(
    tmp_path: Path, mirror: tuple[str, Path], caplog: pytest.LogCaptureFixture
) -> None:
    address, folder = mirror
    for name, content in datasets.mnist().items():
        (folder / f"{name}.gz").write_bytes(gzip.compress(content, compresslevel=1))
    idx_files.fetch([NOBODY, address], tmp_path / "raw")
    assert dataset(tmp_path / "raw") == REAL
    assert [record.getMessage().split(": ")[0] for record in caplog.records] == [
        f"could not get MNIST from {NOBODY}"
    ], "one warning"


def test_a_mirror_with_other_files_is_skipped(
    tmp_path: Path, mirror: tuple[str, Path], caplog: pytest.LogCaptureFixture
) -> None:
    address, folder = mirror
    for name in idx_files.SHA256:
        (folder / f"{name}.gz").write_bytes(gzip.compress(b"not MNIST"))
    idx_files.fetch([address], tmp_path / "raw")
    first, last = (record.getMessage() for record in caplog.records)
    assert first.startswith(f"could not get MNIST from {address}: {address}train-images-idx3-ubyte.gz is not MNIST's")
    assert last.startswith("MNIST is not available")
    assert dataset(tmp_path / "raw") == STAND_IN


def test_a_wrong_file_is_refused_with_both_sums(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MNIST_DIR", str(tmp_path))
    (tmp_path / "train-images-idx3-ubyte").write_bytes(b"wrong")
    with pytest.raises(PipelineError) as refused:
        idx_files.fetch([NOBODY], tmp_path / "raw")
    assert hashlib.sha256(b"wrong").hexdigest() in str(refused.value)
    assert idx_files.SHA256["train-images-idx3-ubyte"] in str(refused.value)
    assert not (tmp_path / "raw").exists(), "nothing is written"


def test_a_folder_without_the_files_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MNIST_DIR", str(tmp_path / "nowhere"))
    with pytest.raises(PipelineError, match=r"neither train-images-idx3-ubyte nor train-images-idx3-ubyte\.gz"):
        idx_files.fetch([NOBODY], tmp_path / "raw")
    monkeypatch.setenv("MNIST_DIR", str(tmp_path))
    (tmp_path / "train-images-idx3-ubyte.gz").write_bytes(b"no gzip")
    with pytest.raises(PipelineError, match="is not a complete gzip file"):
        idx_files.fetch([NOBODY], tmp_path / "raw")


@pytest.fixture(scope="module")
def shared_stand_in(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str]]:
    """The raw data without MNIST, read only, and the warnings on the way to them."""
    folder = tmp_path_factory.mktemp("stand-in")
    warnings: list[str] = []

    class Collect(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            warnings.append(record.getMessage())

    handler = Collect()
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("MNIST_DIR", raising=False)
        patch.setenv("KERAS_HOME", str(folder / "keras"))
        idx_files.log.addHandler(handler)
        idx_files.fetch([NOBODY], folder / "raw")
        idx_files.log.removeHandler(handler)
    return folder / "raw", warnings


@pytest.fixture
def stand_in(shared_stand_in: tuple[Path, list[str]], tmp_path: Path) -> Path:
    """The raw data without MNIST, which the test may change."""
    return Path(shutil.copytree(shared_stand_in[0], tmp_path / "raw"))


def test_each_mirror_that_is_down_is_named_and_the_stand_in_is_announced(
    shared_stand_in: tuple[Path, list[str]],
) -> None:
    mirror, announced = shared_stand_in[1]
    assert mirror.startswith(f"could not get MNIST from {NOBODY}: ")
    assert "as the dataset uci-digits; once you have MNIST's four files, run `MNIST_DIR=FOLDER dvc repro" in announced


def test_without_mnist_the_stand_in_has_its_own_name_and_the_form_of_mnist(stand_in: Path) -> None:
    examples = split(stand_in)
    assert dataset(stand_in) == STAND_IN
    assert (examples.info.dataset, examples.info.stand_in) == ("uci-digits", True)
    assert [len(examples.split(name)[0]) for name in SPLITS] == [1375, 125, 297]
    images = examples.encoded.reshape(-1, 28, 28).astype(float)
    ink = images.sum(axis=(1, 2))
    for axis in (1, 2):
        centre = (images.sum(axis=3 - axis) * np.arange(28)).sum(axis=1) / ink
        assert np.abs(centre - 14).max() <= 0.5, "centred by mass, as MNIST's own"
        extent = (images.sum(axis=3 - axis) > 0).sum(axis=1)
        assert extent.max() <= 20


@pytest.mark.parametrize(("validation", "held_out"), [(1, 1), (5_000, 125), (59_999, 1_499)])
def test_of_a_stand_in_the_same_share_validates_and_never_none_or_all(
    stand_in: Path, validation: int, held_out: int
) -> None:
    assert split(stand_in, validation=validation).info.splits["validation"] == held_out


def test_holding_out_all_images_is_refused(stand_in: Path) -> None:
    with pytest.raises(ValueError, match="less than 60000"):
        split(stand_in, validation=60_000)


def seven(size: int = 60) -> np.ndarray:
    grey = np.full((size, size), 255, np.uint8)
    grey[size // 5 : size // 4, size // 4 : 3 * size // 4] = 0
    for i in range(size // 2):
        grey[size // 4 + i, 3 * size // 4 - i // 2 - size // 12 : 3 * size // 4 - i // 2] = 0
    return grey


@pytest.mark.parametrize("suffix", ["png", "bmp", "gif", "tiff", "webp", "jpg"])
def test_dark_on_light_and_light_on_dark_give_the_same_image(tmp_path: Path, suffix: str) -> None:
    codes = []
    for i, picture in enumerate((seven(), 255 - seven())):
        path = tmp_path / f"{i}.{suffix}"
        Image.fromarray(picture).save(path)
        codes.append(inputs.encode(str(path), INFO).astype(int))
    assert np.abs(codes[0] - codes[1]).max() <= 8, "JPEG and WebP lose a little"
    image = codes[0].reshape(28, 28)
    rows, columns = np.flatnonzero(image.any(axis=1)), np.flatnonzero(image.any(axis=0))
    assert max(rows[-1] - rows[0], columns[-1] - columns[0]) + 1 == 20
    assert image.max() == 255


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "I;16", "F"])
def test_every_colour_mode_gives_the_same_image(tmp_path: Path, mode: str) -> None:
    path = tmp_path / "seven.tiff"
    image = Image.fromarray(seven())
    if mode == "I;16":
        image = Image.fromarray(seven().astype(np.uint16) * 257)
    elif mode != "L":
        image = image.convert(mode)
    image.save(path)
    Image.fromarray(seven()).save(tmp_path / "grey.png")
    ours = inputs.encode(str(path), INFO).astype(int)
    assert np.abs(ours - inputs.encode(str(tmp_path / "grey.png"), INFO)).max() <= 2


@pytest.mark.parametrize("ink", [0, 255])
def test_a_transparent_picture_has_paper_behind_it(tmp_path: Path, ink: int) -> None:
    rgba = np.full((60, 60, 4), ink, np.uint8)
    rgba[:, :, 3] = 255 - seven()
    Image.fromarray(rgba).save(tmp_path / "clear.png")
    Image.fromarray(seven()).save(tmp_path / "grey.png")
    clear, grey = (inputs.encode(str(tmp_path / name), INFO).astype(int) for name in ("clear.png", "grey.png"))
    assert np.abs(clear - grey).max() <= 2


def test_any_size_gives_the_same_image(tmp_path: Path) -> None:
    Image.fromarray(seven(100)).save(tmp_path / "small.png")
    Image.fromarray(np.kron(seven(100), np.ones((10, 10), np.uint8))).save(tmp_path / "large.png")
    small, large = (inputs.encode(str(tmp_path / name), INFO).astype(int) for name in ("small.png", "large.png"))
    assert np.abs(small - large).mean() < 6


@pytest.mark.mnist
def test_digits_of_mnist_stay_nearly_the_same_as_pictures(tmp_path: Path) -> None:
    images = datasets.mnist_array("t10k-images-idx3-ubyte")
    for i in range(50):
        Image.fromarray(images[i]).save(tmp_path / "digit.png")
        assert (
            np.abs(inputs.encode(str(tmp_path / "digit.png"), INFO).reshape(28, 28).astype(int) - images[i]).mean() < 1
        )


def chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def png(side: int, pixels: bytes) -> bytes:
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(pixels)) + chunk(b"IEND", b"")


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (None, "does not exist; give the path"),
        (b"", "is empty"),
        (b"hello", r"is not a picture \(5 bytes\)"),
        (png(100_000, b"\x00" * 9), "has more than 50,000,000 pixels"),
        (png(9, b"\x00" * 9), "could not be read as a picture"),
    ],
)
def test_a_file_that_is_not_a_picture_is_refused(tmp_path: Path, content: bytes | None, sentence: str) -> None:
    path = tmp_path / "picture.png"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(PipelineError, match=sentence):
        inputs.encode(str(path), INFO)


def test_a_folder_and_a_blank_page_are_refused(tmp_path: Path) -> None:
    with pytest.raises(PipelineError, match="is not a file; give the path"):
        inputs.encode(str(tmp_path), INFO)
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(PipelineError, match="is not a file"):
        inputs.encode(str(tmp_path / "pipe"), INFO)
    with pytest.raises(PipelineError, match="could not be read"):
        inputs.encode("\0", INFO)
    Image.new("L", (40, 40), 255).save(tmp_path / "blank.png")
    with pytest.raises(PipelineError, match="no digit found in"):
        inputs.encode(str(tmp_path / "blank.png"), INFO)


def test_the_picture_shows_the_misread_digits(stand_in: Path) -> None:
    examples = split(stand_in)
    encoded, targets = examples.split("test")
    predicted = targets.astype(np.int32)
    predicted[:3] = (predicted[:3] + 1) % 10
    made = predictions(examples.info, encoded, targets, predicted)
    figure = plot_errors(made)
    assert sorted(axes.get_title() for axes in figure.axes if axes.get_title()) == sorted(
        f"{predicted[i]}, not {targets[i]}" for i in range(3)
    )


def test_the_metric_of_the_published_program_is_the_accuracy_on_the_first_256() -> None:
    targets = np.zeros(300, np.int32)
    predicted = targets.copy()
    predicted[[0, 255, 256, 299]] = 1
    made = predictions(INFO, np.zeros((300, 784), np.uint8), targets, predicted)
    examples = Examples(INFO, made.encoded, targets)
    metrics, _ = evaluation.evaluate(examples, made, FunctionModel())
    assert metrics == {"accuracy_first_256": 254 / 256}


def test_a_model_that_reads_fewer_rows_is_measured_after_7_14_and_21() -> None:
    encoded = np.zeros((3, 784), np.uint8)
    encoded[1, 10 * 28], encoded[2, 27 * 28] = 255, 255  # in rows 11 and 28
    targets = np.array([0, 1, 1], np.int32)

    def ink(images: np.ndarray) -> dict[str, np.ndarray]:
        """The class is 1 if there is ink in the rows that are read, else 0."""
        return {"probabilities": np.eye(2)[(images.max(axis=(1, 2)) > 0).astype(int)]}

    info = replace(INFO, min_steps=1)
    made = predictions(info, encoded, targets, targets)
    metrics, _ = evaluation.evaluate(Examples(info, encoded, targets), made, FunctionModel(ink))
    after = {steps: metrics[f"accuracy_after_{steps}_steps"] for steps in (7, 14, 21)}
    assert after == pytest.approx({7: 1 / 3, 14: 2 / 3, 21: 2 / 3})
