"""Name a handwritten digit, its 28 rows read as 28 steps."""

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import numpy as np
from pydantic import AfterValidator, Field

from pipeline.data import Answers, Card, Examples, load_json
from pipeline.errors import BadInput, quoted
from pipeline.tasks import Section

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from PIL.Image import Image

ENCODING = (
    "a picture of one digit, its ink fitted in 20 x 20 and centred by mass in 28 x 28; each row is one step of 28 "
    "features, 0.0 for background to 1.0 for ink"
)
EVALUATED = "test"
CONTINUES = False
SIDE = 28  # pixels of an image, each way
BOX = 20  # pixels that the ink is fitted in
MOST_PIXELS = 50_000_000  # of a picture that `read` takes


def _public(address: str) -> str:
    if "@" in address or "?" in address:
        raise BadInput(
            "params.yaml: tasks.mnist.generate.mirrors: an address there holds a user or a query, and parameters are "
            "kept for all to read; take it out, download the files, and name their folder with MNIST_DIR."
        )
    return address


class Generate(Section):
    """Keys of tasks.mnist.generate."""

    # Addresses of folders that hold the four files, gzipped.
    mirrors: Annotated[list[Annotated[str, AfterValidator(_public)]], Field(min_length=1)]


class Split(Section):
    """Keys of tasks.mnist.split."""

    validation: Annotated[int, Field(ge=1)]  # the last training images; a stand-in keeps the same share


def generate(params: Generate, source: Path, folder: Path) -> None:
    """Write the four IDX files of MNIST, or of its stand-in where MNIST cannot be had."""
    from pipeline.tasks import mnist_files

    mnist_files.fetch(params.mirrors, folder)


def split(params: Split, folder: Path, rng: np.random.Generator) -> Examples:
    """The training images in their order, the last of them for validation; then the test images."""
    from pipeline.tasks import mnist_files

    dataset = load_json(folder / "dataset.json", "dvc repro --force generate@mnist")["dataset"]
    train, train_labels = mnist_files.load(folder, "train")
    test, test_labels = mnist_files.load(folder, "t10k")
    kept = params.validation if dataset == "mnist" else round(params.validation * len(train) / 60_000)
    if not 0 < kept < len(train):
        raise BadInput(
            f"tasks.mnist.split.validation keeps {kept} of the {len(train)} images in {folder}, and none would be left "
            "to train or to validate; ask for another number."
        )
    parts = np.repeat(["train", "validation", "test"], [len(train) - kept, kept, len(test)])
    card = Card("mnist", dataset, (SIDE, SIDE), [str(digit) for digit in range(10)], ENCODING)
    codes = np.concatenate([train, test]).reshape(-1, SIDE * SIDE)
    return Examples(card, codes, np.concatenate([train_labels, test_labels]), parts)


def features(codes: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Pixels (batch, 784) of 0 to 255 as float32 (batch, 28, 28) of 0 to 1."""
    return codes.reshape(-1, *shape).astype(np.float32) / np.float32(255)


def read(text: str, card: Card) -> np.ndarray:
    """The pixels (784,) of the digit in the picture file `text`."""
    return fit(_ink(_open(text), text)).reshape(-1)


def _open(name: str) -> "Image":
    from PIL import Image, ImageOps, UnidentifiedImageError

    try:
        if Path(name).exists() and not Path(name).is_file():  # a folder, or a pipe that would be waited for
            raise BadInput(f"{quoted(name, 200)} is not a file; give the path of a picture of one digit.")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # the line below has a limit of its own
            with Image.open(name) as picture:
                if picture.width * picture.height > MOST_PIXELS:
                    raise Image.DecompressionBombError
                picture.load()
                return ImageOps.exif_transpose(picture)
    except FileNotFoundError:
        raise BadInput(f"there is no file {quoted(name, 200)}; give the path of a picture of one digit.") from None
    except Image.DecompressionBombError:
        raise BadInput(f"{quoted(name, 200)} has more than {MOST_PIXELS:,} pixels; scale it down first.") from None
    except UnidentifiedImageError:
        size = Path(name).stat().st_size
        came = f"is no picture ({size} bytes)" if size else "is an empty file"
        raise BadInput(f"{quoted(name, 200)} {came}; give a PNG, JPEG, GIF, BMP, TIFF or WebP of one digit.") from None
    except (OSError, SyntaxError, ValueError) as error:  # what Pillow raises for a damaged file
        raise BadInput(
            f"{quoted(name, 200)} cannot be read as a picture ({error}); give a whole picture of one digit."
        ) from None


def _ink(picture: "Image", name: str) -> np.ndarray:
    """How much ink each pixel holds, float (height, width) of 0 to 1, whichever of ink and paper is the darker."""
    alpha = np.asarray(picture.convert("RGBA"), float)[:, :, 3] / 255
    grey = np.asarray(picture if picture.mode[0] in "IF" else picture.convert("RGB").convert("L"), float)
    if alpha.min() < 1 and alpha.max() > 0:  # paper of the other shade behind a transparent picture
        span = 255.0 if np.average(grey, weights=alpha) < 127.5 else 0.0
        grey = grey * alpha + span * (1 - alpha)
    edge = np.concatenate([grey[0], grey[-1], grey[:, 0], grey[:, -1]])
    ink = np.abs(grey - np.median(edge))
    if not np.isfinite(ink).all() or ink.max() == 0:
        raise BadInput(
            f"{quoted(name, 200)} is of one colour; give a picture of one digit, dark on light or light on dark."
        )
    return np.where(ink < 0.1 * ink.max(), 0, ink / ink.max())  # below a tenth: the paper's grain


def fit(ink: np.ndarray) -> np.ndarray:
    """Ink of 0 to 1 (any height, any width) as MNIST's own images: uint8 (28, 28), in a box of 20, centred by mass."""
    from PIL import Image

    rows, columns = np.flatnonzero(ink.any(axis=1)), np.flatnonzero(ink.any(axis=0))
    ink = ink[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    scale = BOX / max(ink.shape)
    height, width = (max(1, round(side * scale)) for side in ink.shape)
    resized = Image.fromarray((255 * ink).astype(np.float32)).resize((width, height), Image.Resampling.BICUBIC)
    small = np.clip(np.asarray(resized), 0, 255)
    small = np.rint(255 * small / small.max())
    image = np.zeros((SIDE, SIDE), np.uint8)
    top = _corner(small.sum(axis=1))
    left = _corner(small.sum(axis=0))
    image[top : top + height, left : left + width] = small
    return image


def _corner(mass: np.ndarray) -> int:
    """Where a strip of this mass begins in SIDE pixels so that its centre of mass is pixel 14, as in MNIST."""
    centre = float((mass * np.arange(len(mass))).sum() / mass.sum())
    return min(max(int(np.floor(SIDE / 2 - centre + 0.5)), 0), SIDE - len(mass))


def write(code: np.ndarray, labels: Sequence[str]) -> str:
    """The picture in a line: how many of its 784 pixels hold ink."""
    return f"picture of {int((code > 127).sum())} dark pixels"


def metrics(answers: Answers) -> dict[str, float]:
    """The accuracy on the first 256 images alone: what the program behind mnist-lstm128 printed."""
    return {"accuracy_first_256": float(1 - answers.wrong[:256].mean())}


def draw(answers: Answers) -> "Figure":
    """The misread digits, the surest errors first, with what was read and the right answer."""
    from matplotlib.figure import Figure

    wrong = np.flatnonzero(answers.wrong)
    wrong = wrong[np.argsort(-answers.probability[wrong], kind="stable")]
    across, down = 12, 6
    shown = wrong[: across * down]
    rows = max(1, -(-len(shown) // across))
    figure = Figure(figsize=(12, 1.28 * rows + 0.6), layout="constrained")
    for axes in figure.subplots(rows, across, squeeze=False).flat:
        axes.axis("off")
    for axes, row in zip(figure.axes, shown, strict=False):
        axes.imshow(answers.codes[row].reshape(answers.card.shape), cmap="gray_r", vmin=0, vmax=255)
        said, right = answers.card.labels[answers.said[row]], answers.card.labels[answers.classes[row]]
        axes.set_title(f"{said}, not {right}", fontsize=9, color="#c0392b")
    figure.suptitle(
        f"{answers.card.dataset}: {len(wrong)} of {len(answers.classes)} misread"
        + (f", the {len(shown)} surest" if len(shown) < len(wrong) else ""),
        fontsize=12,
    )
    return figure
