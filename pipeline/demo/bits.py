"""The tab `Bits`: type or click bits, and see the counter count."""

from typing import Any

import gradio as gr

from pipeline.demo import tables
from pipeline.demo.exports import Exports
from pipeline.errors import PipelineError

FIRST = "01101010"


def tab(page: gr.Blocks, exports: Exports, names: list[str]) -> None:
    """The tab on a page, with the models that read bits."""

    def typed(name: str, text: str) -> tuple[Any, Any, str]:
        top, steps = show(name, text)
        return _boxes(text if top else ""), top, steps

    def clicked(name: str, text: str, ones: list[int]) -> tuple[str, Any, str]:
        text = "".join("1" if place in ones else "0" for place in range(len(text)))
        return text, *show(name, text)

    def show(name: str, text: str) -> tuple[Any, str]:
        if not text:
            return None, ""
        try:
            answer = exports.answer(name, text)
        except PipelineError as error:
            return None, tables.error(str(error))
        return dict(answer.prediction.top) or answer.prediction.label, tables.counter(answer)

    first = exports.open(names[0]).info
    start = FIRST if (first.min_steps or first.shape[0]) <= len(FIRST) else (FIRST * 20)[: first.shape[0]]
    with gr.Row():
        with gr.Column(scale=1, min_width=280):
            model = gr.Dropdown(names, label="Model")
            text = gr.Textbox(start, label="Bits", max_length=1000, elem_id="bits-text")
            boxes = gr.CheckboxGroup(label="the ones among them", elem_id="bits-boxes", elem_classes="bits")
        with gr.Column(scale=1, min_width=280):
            label = gr.Label(label="How many ones", num_top_classes=5, elem_id="bits-answer")
    steps = gr.HTML(elem_id="bits-steps")
    quick: dict[str, Any] = {"show_progress": "hidden", "concurrency_limit": 4, "api_visibility": "private"}
    text.change(typed, [model, text], [boxes, label, steps], trigger_mode="always_last", **quick)
    boxes.input(clicked, [model, text, boxes], [text, label, steps], trigger_mode="always_last", **quick)
    model.change(show, [model, text], [label, steps], **quick)
    page.load(typed, [model, text], [boxes, label, steps], **quick)


def _boxes(text: str) -> Any:
    """A box for each character, ticked where it is a one."""
    return gr.CheckboxGroup(
        choices=[(str(place + 1), place) for place in range(len(text))],
        value=[place for place, bit in enumerate(text) if bit == "1"],
    )
