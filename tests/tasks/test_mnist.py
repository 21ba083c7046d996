import functools
import gzip
import hashlib
import http.server
import json
import os
import struct
import threading
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pipeline import data
from pipeline.errors import BadInput
from pipeline.tasks import mnist, mnist_files
from tests import tiny

MNIST = Path(os.environ.get("MNIST_DIR") or tiny.ROOT.parent / "shared" / "data" / "mnist")
needs_mnist = pytest.mark.skipif(not MNIST.is_dir(), reason="MNIST is not here: set MNIST_DIR")
CARD = data.Card("mnist", "mnist", (28, 28), [str(i) for i in range(10)], mnist.ENCODING)
NOBODY = ["http://127.0.0.1:9"]


@pytest.fixture(autouse=True)
def alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MNIST_DIR", raising=False)
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))


def split(folder: Path, validation: int = 5000) -> data.Examples:
    return mnist.split(mnist.Split(validation=validation), folder, np.random.default_rng(1))


@needs_mnist
def test_the_named_folder_gives_mnist(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MNIST_DIR", str(MNIST))
    mnist_files.fetch(NOBODY, tmp_path)
    assert {name: hashlib.sha256((tmp_path / name).read_bytes()).hexdigest() for name in mnist_files.SUMS} == (
        mnist_files.SUMS
    )
    examples = split(tmp_path)
    assert examples.card.dataset == "mnist"
    assert [len(examples.part(part)[0]) for part in data.PARTS] == [55_000, 5_000, 10_000]
    digit = mnist.features(examples.codes[:1], (28, 28))
    assert (digit.min(), digit.max(), digit.shape) == (0, 1, (1, 28, 28))


@needs_mnist
def test_keras_cache_gives_mnist(tmp_path: Path) -> None:
    def array(name: str, dimensions: int) -> np.ndarray:
        content = gzip.decompress((MNIST / f"{name}.gz").read_bytes())
        shape = struct.unpack(f">{dimensions}I", content[4 : 4 + 4 * dimensions])
        return np.frombuffer(content, np.uint8, offset=4 + 4 * dimensions).reshape(shape)

    cache = tmp_path / "keras" / "datasets"
    cache.mkdir(parents=True)
    np.savez(
        cache / "mnist.npz",
        x_train=array("train-images-idx3-ubyte", 3),
        y_train=array("train-labels-idx1-ubyte", 1),
        x_test=array("t10k-images-idx3-ubyte", 3),
        y_test=array("t10k-labels-idx1-ubyte", 1),
    )
    mnist_files.fetch(NOBODY, tmp_path / "raw")
    assert json.loads((tmp_path / "raw" / "dataset.json").read_text()) == {"dataset": "mnist"}


@pytest.fixture
def mirror(tmp_path: Path) -> Iterator[tuple[str, Path]]:
    folder = tmp_path / "mirror"
    folder.mkdir()

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            """Say nothing."""

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(folder)))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}/", folder
    server.shutdown()
    thread.join()
    server.server_close()


@needs_mnist
def test_the_second_mirror_gives_mnist_where_the_first_is_down(tmp_path: Path, mirror: tuple[str, Path]) -> None:
    address, folder = mirror
    for name in mnist_files.SUMS:
        (folder / f"{name}.gz").write_bytes((MNIST / f"{name}.gz").read_bytes())
    with pytest.warns(UserWarning, match="did not give MNIST"):
        mnist_files.fetch([*NOBODY, address], tmp_path / "raw")
    assert json.loads((tmp_path / "raw" / "dataset.json").read_text()) == {"dataset": "mnist"}


def test_a_mirror_that_lies_is_passed_over(tmp_path: Path, mirror: tuple[str, Path]) -> None:
    address, folder = mirror
    for name in mnist_files.SUMS:
        (folder / f"{name}.gz").write_bytes(gzip.compress(b"not MNIST"))
    lies = pytest.warns(UserWarning, match=r"did not give MNIST: http://\S+ is not MNIST's train-images")
    with lies, pytest.warns(UserWarning, match="MNIST could not be had"):
        mnist_files.fetch([address], tmp_path / "raw")
    assert json.loads((tmp_path / "raw" / "dataset.json").read_text()) == {"dataset": "uci-digits"}


def test_a_wrong_file_is_refused_with_both_sums(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MNIST_DIR", str(tmp_path))
    (tmp_path / "train-images-idx3-ubyte").write_bytes(b"wrong")
    with pytest.raises(BadInput) as refused:
        mnist_files.fetch(NOBODY, tmp_path / "raw")
    assert hashlib.sha256(b"wrong").hexdigest() in str(refused.value)
    assert mnist_files.SUMS["train-images-idx3-ubyte"] in str(refused.value)
    assert not (tmp_path / "raw").exists(), "nothing is half written"


def test_a_folder_without_the_files_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MNIST_DIR", str(tmp_path / "nowhere"))
    with pytest.raises(BadInput, match=r"holds neither train-images-idx3-ubyte nor train-images-idx3-ubyte\.gz"):
        mnist_files.fetch(NOBODY, tmp_path / "raw")
    monkeypatch.setenv("MNIST_DIR", str(tmp_path))
    (tmp_path / "train-images-idx3-ubyte.gz").write_bytes(b"no gzip")
    with pytest.raises(BadInput, match="is not a whole gzip file"):
        mnist_files.fetch(NOBODY, tmp_path / "raw")


@pytest.fixture
def stand_in(tmp_path: Path) -> Path:
    down = pytest.warns(UserWarning, match=r"http://127\.0\.0\.1:9 did not give MNIST")
    with down, pytest.warns(UserWarning, match=r"uci-digits; once you have MNIST's four files, run `MNIST_DIR="):
        mnist_files.fetch(NOBODY, tmp_path / "raw")
    return tmp_path / "raw"


def test_without_mnist_the_stand_in_serves_under_its_own_name(stand_in: Path) -> None:
    examples = split(stand_in)
    assert examples.card.dataset == "uci-digits"
    assert [len(examples.part(part)[0]) for part in data.PARTS] == [1375, 125, 297]
    images = examples.codes.reshape(-1, 28, 28).astype(float)
    ink = images.sum(axis=(1, 2))
    for axis in (1, 2):
        centre = (images.sum(axis=3 - axis) * np.arange(28)).sum(axis=1) / ink
        assert np.abs(centre - 14).max() <= 0.5, "centred by mass, as MNIST's own"
        extent = (images.sum(axis=3 - axis) > 0).sum(axis=1)
        assert extent.max() <= 20


@pytest.mark.parametrize(
    ("name", "offset", "byte", "sentence"),
    [
        ("train-labels-idx1-ubyte", 8 + 17, 11, r"train-labels-idx1-ubyte, row 17: the label is 11, expected 0 to 9"),
        ("t10k-images-idx3-ubyte", 2, 13, r"t10k-images-idx3-ubyte is no IDX file of 3 axes"),
        ("t10k-images-idx3-ubyte", 7, 1, r"t10k-images-idx3-ubyte holds \d+ bytes of data, expected"),
        ("train-images-idx3-ubyte", 11, 14, r"train-images-idx3-ubyte holds \d+ bytes of data, expected"),
    ],
)
def test_damaged_data_are_refused_by_file_and_row(
    stand_in: Path, name: str, offset: int, byte: int, sentence: str
) -> None:
    content = bytearray((stand_in / name).read_bytes())
    content[offset] = byte
    (stand_in / name).write_bytes(content)
    with pytest.raises(BadInput, match=sentence):
        split(stand_in)


def test_keeping_all_for_validation_is_refused(stand_in: Path) -> None:
    with pytest.raises(BadInput, match="keeps 1500 of the 1500 images"):
        split(stand_in, validation=60_000)


def seven(size: int = 60) -> np.ndarray:
    grey = np.full((size, size), 255, np.uint8)
    grey[size // 5 : size // 4, size // 4 : 3 * size // 4] = 0
    for i in range(size // 2):
        grey[size // 4 + i, 3 * size // 4 - i // 2 - size // 12 : 3 * size // 4 - i // 2] = 0
    return grey


@pytest.mark.parametrize("suffix", ["png", "bmp", "gif", "tiff", "webp", "jpg"])
def test_dark_on_light_and_light_on_dark_are_one(tmp_path: Path, suffix: str) -> None:
    codes = []
    for i, picture in enumerate((seven(), 255 - seven())):
        path = tmp_path / f"{i}.{suffix}"
        Image.fromarray(picture).save(path)
        codes.append(mnist.read(str(path), CARD).astype(int))
    assert np.abs(codes[0] - codes[1]).max() <= 8, "JPEG and WebP lose a little"
    image = codes[0].reshape(28, 28)
    rows, columns = np.flatnonzero(image.any(axis=1)), np.flatnonzero(image.any(axis=0))
    assert max(rows[-1] - rows[0], columns[-1] - columns[0]) + 1 == 20
    assert image.max() == 255


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "I;16", "F"])
def test_every_mode_reads_alike(tmp_path: Path, mode: str) -> None:
    path = tmp_path / "seven.tiff"
    image = Image.fromarray(seven())
    if mode == "I;16":
        image = Image.fromarray(seven().astype(np.uint16) * 257)
    elif mode != "L":
        image = image.convert(mode)
    image.save(path)
    Image.fromarray(seven()).save(tmp_path / "grey.png")
    ours = mnist.read(str(path), CARD).astype(int)
    assert np.abs(ours - mnist.read(str(tmp_path / "grey.png"), CARD)).max() <= 2


@pytest.mark.parametrize("ink", [0, 255])
def test_a_transparent_picture_has_paper_behind_it(tmp_path: Path, ink: int) -> None:
    rgba = np.full((60, 60, 4), ink, np.uint8)
    rgba[:, :, 3] = 255 - seven()
    Image.fromarray(rgba).save(tmp_path / "clear.png")
    Image.fromarray(seven()).save(tmp_path / "grey.png")
    clear, grey = (mnist.read(str(tmp_path / name), CARD).astype(int) for name in ("clear.png", "grey.png"))
    assert np.abs(clear - grey).max() <= 2


def test_any_size_reads_alike(tmp_path: Path) -> None:
    Image.fromarray(seven(40)).save(tmp_path / "small.png")
    Image.fromarray(np.kron(seven(40), np.ones((25, 25), np.uint8))).save(tmp_path / "large.png")
    small, large = (mnist.read(str(tmp_path / name), CARD).astype(int) for name in ("small.png", "large.png"))
    assert np.abs(small - large).mean() < 6


@needs_mnist
def test_mnist_s_own_digits_come_through_unharmed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MNIST_DIR", str(MNIST))
    mnist_files.fetch(NOBODY, tmp_path)
    images, _ = mnist_files.load(tmp_path, "t10k")
    for i in range(50):
        Image.fromarray(images[i]).save(tmp_path / "digit.png")
        assert np.abs(mnist.read(str(tmp_path / "digit.png"), CARD).reshape(28, 28).astype(int) - images[i]).mean() < 1


def chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def png(side: int, pixels: bytes) -> bytes:
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(pixels)) + chunk(b"IEND", b"")


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (None, "there is no file"),
        (b"", "is an empty file"),
        (b"hello", r"is no picture \(5 bytes\)"),
        (png(100_000, b"\x00" * 9), "has more than 50,000,000 pixels"),
        (png(9, b"\x00" * 9), "cannot be read as a picture"),
    ],
)
def test_what_is_no_picture_is_refused(tmp_path: Path, content: bytes | None, sentence: str) -> None:
    path = tmp_path / "picture.png"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(BadInput, match=sentence):
        mnist.read(str(path), CARD)


def test_a_folder_and_a_blank_page_are_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="is not a file; give the path"):
        mnist.read(str(tmp_path), CARD)
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(BadInput, match="is not a file"):
        mnist.read(str(tmp_path / "pipe"), CARD)
    with pytest.raises(BadInput, match="cannot be read"):
        mnist.read("\0", CARD)
    Image.new("L", (40, 40), 255).save(tmp_path / "blank.png")
    with pytest.raises(BadInput, match="is of one colour"):
        mnist.read(str(tmp_path / "blank.png"), CARD)


def test_the_picture_holds_the_misread_digits(stand_in: Path) -> None:
    examples = split(stand_in)
    codes, classes = examples.part("test")
    said = classes.astype(np.int32)
    said[:3] = (said[:3] + 1) % 10
    figure = mnist.draw(data.Answers(examples.card, codes, classes, said, np.ones(len(said), np.float32)))
    assert sorted(axes.get_title() for axes in figure.axes if axes.get_title()) == sorted(
        f"{said[i]}, not {classes[i]}" for i in range(3)
    )
