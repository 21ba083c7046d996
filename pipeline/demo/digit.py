"""The tab `Digit`: draw, upload or photograph a digit; the answer follows the drawing."""

import base64
import binascii
from pathlib import Path
from typing import Any

import gradio as gr

from pipeline.demo import tables
from pipeline.demo.exports import Exports
from pipeline.errors import PipelineError

HERE = Path(__file__).parent
LARGEST = 1_000_000  # characters of a drawing


def picture_file(label: str, elem_id: str) -> gr.Image:
    """A picture file that is not decoded: the task's own decoder has limits, and says what is wrong with a file."""
    file = gr.Image(label=label, sources=["upload", "webcam", "clipboard"], height=180, elem_id=elem_id)
    # Of the instance, since Gradio writes a stub file beside the source of each class that is derived from its own.
    file.preprocess = lambda payload: payload.path if payload else None  # type: ignore[method-assign]
    return file


def tab(page: gr.Blocks, exports: Exports, names: list[str]) -> None:
    """The tab on a page, with the models that read pictures."""

    def show(name: str, content: bytes | None) -> tuple[Any, str, str]:
        if not content:
            return None, "", ""
        try:
            answer = exports.answer(name, content)
        except PipelineError as error:
            return None, tables.error(str(error)), ""
        seen = "" if answer.image is None else tables.picture(answer.image)
        return dict(answer.prediction.top), seen, tables.probabilities(answer)

    def drawn(name: str, drawing: Any) -> tuple[bytes | None, Any, str, str]:
        content = _decoded(drawing)
        return (content, *show(name, content))

    def uploaded(name: str, path: str | None) -> tuple[bytes | None, Any, str, str]:
        content = Path(path).read_bytes() if path else None
        return (content, *show(name, content))

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
    quick: dict[str, Any] = {"show_progress": "hidden", "concurrency_limit": 4, "api_visibility": "private"}
    pad.change(drawn, [model, pad], [picture, *outputs], trigger_mode="always_last", **quick)
    file.change(uploaded, [model, file], [picture, *outputs], **quick)
    model.change(show, [model, picture], outputs, **quick)


def _decoded(drawing: Any) -> bytes | None:
    """The PNG of a drawing, which came in Base64; None of an empty one, or of what is none."""
    if not isinstance(drawing, str) or len(drawing) > LARGEST:
        return None
    try:
        return base64.b64decode(drawing, validate=True) or None
    except binascii.Error:
        return None
