"""Digits in pictures as people take them: rendered with pens, paper, light and cameras."""

import contextlib
import io
import tempfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw, PngImagePlugin

from bench import handwriting
from bench.handwriting import Picture
from pipeline.dataset import DatasetInfo
from pipeline.errors import PipelineError
from pipeline.tasks.inputs import Drawing
from pipeline.tasks.mnist import decode, ink
from pipeline.tasks.mnist.inputs import Inputs

inputs = Inputs()

INFO = DatasetInfo("mnist", "mnist", False, (28, 28), [str(i) for i in range(10)], "test", False, "", {"test": 1})


def found(picture: Picture) -> int:
    """How many digits the reader finds in the file of a picture, which this process decodes: there are many of them."""
    with tempfile.TemporaryDirectory() as folder:
        path = handwriting.save(picture, Path(folder), "picture")
        decoded = decode.decode(io.BytesIO(path.read_bytes()))
    return len(ink.digits(np.asarray(decoded)))


def read(path: Path, pixels: np.ndarray) -> np.ndarray:
    """The image 28 x 28 that the model sees of these pixels, as integers."""
    Image.fromarray(pixels).save(path)
    return inputs.encode(str(path), INFO).reshape(28, 28).astype(int)


def test_one_digit_is_found_in_photos_scans_drawings_and_crops() -> None:
    counts = [found(picture) for picture in handwriting.collection(72, seed=77)]
    assert np.mean([count == 1 for count in counts]) >= 0.97


def test_nothing_is_found_on_paper_without_writing() -> None:
    assert np.mean([found(handwriting.without_digit(seed)) == 0 for seed in range(500, 530)]) >= 0.9


@pytest.mark.parametrize(
    ("kind", "least"), [("text", 0.9), ("table", 0.9), ("shadow", 0.8), ("scene", 0.6), ("photograph", 0.7)]
)
def test_most_pictures_of_other_things_are_refused(kind: str, least: float) -> None:
    """Their shapes are not of one pen: strokes differ in width, or the outline is that of a texture."""
    assert np.mean([found(handwriting.WITHOUT[kind](seed)) != 1 for seed in range(500, 540)]) >= least


def test_a_digit_that_was_cut_out_at_its_strokes_is_found_whole() -> None:
    """Strokes touch the border of such pictures, or cross it."""
    pictures = [handwriting.tight(str(i % 10), 7000 + i, i % 2 + 2) for i in range(30)]
    assert np.mean([found(picture) == 1 for picture in pictures]) >= 0.9


def test_a_cut_out_digit_is_seen_like_the_same_digit_on_a_page(tmp_path: Path) -> None:
    page = handwriting.scan("5", 11, 1).pixels
    ink = page.min(axis=2) < 128
    rows, columns = np.flatnonzero(ink.any(axis=1)), np.flatnonzero(ink.any(axis=0))
    cut = page[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    assert np.abs(read(tmp_path / "a.png", cut) - read(tmp_path / "b.png", page)).mean() < 8


def test_nothing_is_found_on_paper_with_a_table_around_it() -> None:
    assert np.mean([found(handwriting.table(seed)) == 0 for seed in range(600, 630)]) >= 0.8


def test_strokes_too_thick_for_the_box_become_thinner(tmp_path: Path) -> None:
    page = np.full((280, 280, 3), 255, np.uint8)
    page[100:130, 100:150] = page[150:180, 100:150] = page[100:180, 130:150] = 0  # a 3 without its middle bar
    image = read(tmp_path / "three.png", page)
    assert (image[:, 10] > 128).sum() <= 13, "pixels of ink in both bars, which are 15 of 20 as drawn"


def test_the_grain_of_a_small_picture_is_no_ink(tmp_path: Path) -> None:
    grain = np.random.default_rng(1).normal(200, 8, (40, 40))
    Image.fromarray(grain.astype(np.uint8)).save(tmp_path / "grain.png")
    with pytest.raises(PipelineError, match="no digit found in"):
        inputs.encode(str(tmp_path / "grain.png"), INFO)
    light = np.add.outer(np.linspace(90, 200, 40), np.zeros(40))
    Image.fromarray(light.astype(np.uint8)).save(tmp_path / "light.png")
    with pytest.raises(PipelineError, match="no digit found in"):
        inputs.encode(str(tmp_path / "light.png"), INFO)


def test_thin_strokes_of_a_small_picture_become_thicker(tmp_path: Path) -> None:
    small = Image.new("RGB", (64, 64), "white")
    ImageDraw.Draw(small).ellipse((6, 6, 58, 58), outline="black")
    assert read(tmp_path / "zero.png", np.asarray(small))[14].sum() / 255 >= 2.5, "pixels of ink in the middle row"


def drawn(pixels: np.ndarray) -> bytes:
    with io.BytesIO() as file:
        Image.fromarray(pixels).save(file, "PNG")
        return file.getvalue()


def test_all_of_a_drawing_is_the_digit() -> None:
    pad = np.full((280, 280), 255, np.uint8)
    pad[100:160, 120:180] = 0  # a blot on paper, but somebody drew it
    with pytest.raises(PipelineError, match="no digit found in"):
        inputs.encode(drawn(pad), INFO)
    blot = inputs.encode(Drawing(drawn(pad)), INFO).reshape(28, 28)
    pad[240:246, 0:6] = 0  # far away, and on the border
    both = inputs.encode(Drawing(drawn(pad)), INFO).reshape(28, 28)
    assert (both > 128).sum() < (blot > 128).sum(), "the blot is smaller in a box that holds both"
    with pytest.raises(PipelineError, match="no digit found in"):
        inputs.encode(Drawing(drawn(np.full((280, 280), 255, np.uint8))), INFO)


@pytest.mark.parametrize("kind", ["photo", "scan"])
def test_digits_that_stand_apart_are_counted(kind: str) -> None:
    pictures = [handwriting.KINDS[kind]("70418"[: seed % 4 + 2], seed, 1) for seed in range(900, 916)]
    assert np.mean([found(picture) == len(picture.label) for picture in pictures]) >= 0.85


def test_light_on_dark_is_read_like_dark_on_light(tmp_path: Path) -> None:
    pixels = handwriting.drawing("5", 4, 1).pixels
    image = read(tmp_path / "a.png", pixels)
    assert np.abs(image - read(tmp_path / "b.png", 255 - pixels)).mean() < 6
    assert image.max() == 255


def test_two_colours_of_the_same_brightness_are_told_apart(tmp_path: Path) -> None:
    drawn = handwriting.drawing("7", 4, 1).pixels.astype(float)
    strokes = (np.abs(drawn - drawn[0, 0]).max(axis=2) > 50)[:, :, None]
    black_on_white = np.where(strokes, (0, 0, 0), (255, 255, 255)).astype(np.uint8)
    red_on_green = np.where(strokes, (200, 60, 60), (60, 127, 60)).astype(np.uint8)
    expected = read(tmp_path / "a.png", black_on_white)
    assert np.abs(read(tmp_path / "b.png", red_on_green) - expected).mean() < 8


def test_a_shadow_and_a_white_frame_change_little(tmp_path: Path) -> None:
    pixels = handwriting.photo("3", 12, 1).pixels.astype(np.float32)
    plain = read(tmp_path / "a.png", pixels.astype(np.uint8))
    shade = np.linspace(0.35, 1, pixels.shape[1])[None, :, None]
    assert np.abs(read(tmp_path / "b.png", (pixels * shade).astype(np.uint8)) - plain).mean() < 12
    framed = np.pad(pixels * 0.8, ((60, 60), (60, 60), (0, 0)), constant_values=255)
    assert np.abs(read(tmp_path / "c.png", framed.astype(np.uint8)) - plain).mean() < 12


def test_several_digits_are_refused_with_their_number_and_read_left_to_right(tmp_path: Path) -> None:
    picture = handwriting.scan("504", 31, 1)
    Image.fromarray(picture.pixels).save(tmp_path / "three.png")
    with pytest.raises(PipelineError, match=r"three\.png' shows 3 digits, expected one; use --digits"):
        inputs.encode(str(tmp_path / "three.png"), INFO)
    codes = inputs.encode_all(str(tmp_path / "three.png"), INFO)
    assert [code.shape for code in codes] == [(784,)] * 3


@pytest.mark.parametrize("width", [4, 8, 20])
def test_a_thin_stroke_becomes_as_thick_as_those_of_mnist(tmp_path: Path, width: int) -> None:
    page = np.full((600, 600, 3), 255, np.uint8)
    page[150:450, 300 : 300 + width] = 0
    image = read(tmp_path / "one.png", page)
    assert 1.8 <= image[14].sum() / 255 <= 3.6, "pixels of ink in the middle row"


def test_a_stroke_wider_than_the_window_is_filled_not_outlined(tmp_path: Path) -> None:
    page = np.full((600, 600, 3), 255, np.uint8)
    page[100:500, 220:380] = 0
    image = read(tmp_path / "one.png", page)
    assert image[14, 14] > 200, "ink in the middle of the stroke"
    assert (image[14] > 200).sum() >= 6


@pytest.mark.parametrize("mode", ["1", "P", "L", "LA", "RGBA", "CMYK", "I;16", "F"])
def test_every_kind_of_pixel_is_read_alike(tmp_path: Path, mode: str) -> None:
    picture = Image.fromarray(handwriting.scan("5", 11, 1).pixels).resize((1600, 1200))
    expected = read(tmp_path / "rgb.png", np.asarray(picture))
    grey = np.asarray(picture.convert("L"))
    converted = {
        "I;16": lambda: Image.fromarray(grey.astype(np.uint16) * 200),
        "F": lambda: Image.fromarray(grey.astype(np.float32) / 255),
    }.get(mode, lambda: picture.convert(mode))()
    converted.save(tmp_path / "other.tiff")
    image = inputs.encode(str(tmp_path / "other.tiff"), INFO).reshape(28, 28)
    assert np.abs(image - expected).mean() < 8


@pytest.mark.parametrize(
    "pixels",
    [
        np.zeros((1, 1), np.uint8),
        np.full((1, 5000), 3, np.uint8),
        np.full((200, 200), np.nan, np.float32),
        np.random.default_rng(1).integers(0, 256, (500, 500, 3)).astype(np.uint8),
    ],
    ids=["a pixel", "a line", "nan", "noise"],
)
def test_what_holds_no_digit_is_refused_by_a_sentence(tmp_path: Path, pixels: np.ndarray) -> None:
    Image.fromarray(pixels).save(tmp_path / "none.tiff")
    with pytest.raises(PipelineError, match="no digit found in"):
        inputs.encode(str(tmp_path / "none.tiff"), INFO)


def test_other_formats_are_refused_before_a_program_reads_them(tmp_path: Path) -> None:
    picture = Image.fromarray(handwriting.scan("5", 11, 1).pixels)
    for kind in ("EPS", "PPM", "ICO"):  # Pillow hands EPS to Ghostscript
        picture.save(tmp_path / "five.png", kind)
        with pytest.raises(PipelineError, match=r"is not a picture \(\d+ bytes\); give a PNG, JPEG, GIF, BMP, TIFF or"):
            inputs.encode(str(tmp_path / "five.png"), INFO)


@pytest.mark.parametrize("size", [(20_001, 10), (10, 20_001), (10_000, 5_001)])
def test_a_picture_that_is_too_large_is_refused_by_its_size(tmp_path: Path, size: tuple[int, int]) -> None:
    Image.new("1", size).save(tmp_path / "large.png")
    with pytest.raises(PipelineError, match=r"more than 50,000,000 pixels, or a side of more than 20,000; make it"):
        inputs.encode(str(tmp_path / "large.png"), INFO)


@pytest.mark.parametrize("compression", ["tiff_lzw", "packbits", "tiff_deflate", "jpeg"])
def test_a_damaged_tiff_prints_no_lines_of_its_library(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], compression: str
) -> None:
    path = tmp_path / "five.tiff"
    Image.fromarray(handwriting.scan("5", 11, 1).pixels).save(path, compression=compression)
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2] + content[-400:])
    with contextlib.suppress(PipelineError):
        inputs.encode(str(path), INFO)
    assert capfd.readouterr().err == ""


def test_a_picture_with_a_long_text_in_it_is_refused_with_advice() -> None:
    with io.BytesIO() as file:
        notes = PngImagePlugin.PngInfo()
        notes.add_text("x", "0" * 100_000_000, zip=True)
        Image.new("L", (28, 28), 255).save(file, "PNG", pnginfo=notes)
        content = file.getvalue()
    with pytest.raises(PipelineError, match=r"could not be read as a picture \(.*\); give an undamaged picture of one"):
        inputs.encode(content, INFO)


def test_a_damaged_picture_is_read_or_refused_with_a_sentence(tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    for form in ("PNG", "JPEG", "GIF", "BMP", "TIFF", "WEBP"):
        with io.BytesIO() as file:
            Image.fromarray(handwriting.scan("5", 11, 1).pixels).save(file, form)
            content = bytearray(file.getvalue())
        for _ in range(5):
            damaged = content.copy()
            for place in rng.integers(0, min(len(content), 400), 4):
                damaged[place] ^= 0x5A
            with contextlib.suppress(PipelineError):
                inputs.encode(bytes(damaged), INFO)
