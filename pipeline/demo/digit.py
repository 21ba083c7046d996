"""The tab `Digit`: draw, upload or photograph a digit; the answer follows the drawing."""

import base64
import binascii
import os
from pathlib import Path
from typing import Any

import gradio as gr

from pipeline.demo import tables
from pipeline.demo.exports import Exports
from pipeline.errors import PipelineError
from pipeline.tasks.inputs import Drawing

HERE = Path(__file__).parent
LARGEST = 1_000_000  # characters of a drawing
SIDE = 1000  # pixels of a drawing
PICTURES = "pictures"  # what only one of runs at a time


def picture_file(label: str, elem_id: str) -> gr.Image:
    """A picture file that is not decoded: the task's own decoder has limits, and says what is wrong with a file."""
    file = gr.Image(label=label, sources=["upload", "webcam", "clipboard"], height=180, elem_id=elem_id)
    # Of the instance, since Gradio writes a stub file beside the source of each class that is derived from its own.
    file.preprocess = _uploaded  # type: ignore[method-assign]
    return file


def _uploaded(payload: Any) -> str | None:
    """The path of an uploaded file; None of any other, which a request may name, too."""
    if not payload or not payload.path:
        return None
    path, folder = Path(payload.path).resolve(), Path(os.environ["GRADIO_TEMP_DIR"]).resolve()
    return str(path) if path.is_file() and folder in path.parents else None


def read(path: str | None) -> bytes | None:
    """The content of an uploaded file; None if it is no longer there."""
    try:
        return Path(path).read_bytes() if path else None
    except FileNotFoundError:
        return None


def tab(page: gr.Blocks, exports: Exports, names: list[str]) -> None:
    """The tab on a page, with the models that read pictures."""

    def show(name: str, picture: bytes | str | None) -> tuple[Any, str, str]:
        content = read(picture) if isinstance(picture, str) else picture
        if content is None:
            return None, "", ""
        try:
            answer = exports.answer(name, content)
        except PipelineError as error:
            return None, tables.error(str(error)), ""
        seen = "" if answer.image is None else tables.picture(answer.image)
        return dict(answer.prediction.top), seen, tables.probabilities(answer)

    def drawn(name: str, drawing: Any) -> tuple[Drawing | None, Any, str, str]:
        content = _decoded(drawing)
        return (content, *show(name, content))

    def uploaded(name: str, path: str | None) -> tuple[str | None, Any, str, str]:
        return (path, *show(name, path))

    picture = gr.State(None, time_to_live=3600)
    with gr.Row():
        with gr.Column(scale=1, min_width=280):
            model = gr.Dropdown(names, label="Model", elem_id="digit-model")
            pad = gr.HTML(
                html_template=(HERE / "pad.html").read_text(encoding="utf-8"),
                js_on_load=(HERE / "pad.js").read_text(encoding="utf-8"),
                elem_id="pad",
                elem_classes="pad",
            )
            file = picture_file("or a picture: a file, a photo", "digit-file")
        with gr.Column(scale=2, min_width=280):
            label = gr.Label(label="Answer", num_top_classes=5, elem_id="digit-answer")
            seen = gr.HTML(elem_id="digit-seen")
        with gr.Column(scale=2, min_width=280):
            steps = gr.HTML(elem_id="digit-steps")
    outputs = [label, seen, steps]
    quick: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private"}
    pad.change(drawn, [model, pad], [picture, *outputs], trigger_mode="always_last", concurrency_limit=4, **quick)
    # One at a time: a large picture takes memory while it is decoded.
    file.change(uploaded, [model, file], [picture, *outputs], concurrency_id=PICTURES, concurrency_limit=1, **quick)
    model.change(show, [model, picture], outputs, concurrency_id=PICTURES, **quick)


def _decoded(drawing: Any) -> Drawing | None:
    """The PNG of a drawing, which came in Base64; None of an empty one, or of what is none."""
    if not isinstance(drawing, str) or len(drawing) > LARGEST:
        return None
    try:
        content = base64.b64decode(drawing, validate=True)
    except binascii.Error:
        return None
    sides = [int.from_bytes(content[at : at + 4]) for at in (16, 20)]  # where a PNG has its width and height
    return Drawing(content) if content.startswith(b"\x89PNG\r\n") and max(sides) <= SIDE else None
