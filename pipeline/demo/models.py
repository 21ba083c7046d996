"""The tab `Models`: any exported model, or two side by side on the same input."""

from typing import Any

import gradio as gr

from pipeline import tasks
from pipeline.demo import tables
from pipeline.demo.digit import PICTURES, picture_file, read
from pipeline.demo.exports import Exports
from pipeline.demo.facts import facts
from pipeline.errors import PipelineError

NONE = "none"


def tab(item: gr.Tab, exports: Exports) -> None:
    """The content of the tab, with all models."""

    def known(name: str) -> str:
        return "" if name == NONE else tables.facts(facts(exports, name))

    def chosen(name: str) -> tuple[gr.Dropdown, gr.Textbox, gr.Column]:
        info = exports.open(name).info
        others = [NONE, *(each for each in exports.of_task(info.task) if each != name)]
        files = exports.open(name).reads_files
        help_text = f"Input: {tasks.load(info.task).inputs.help}"
        return (
            gr.Dropdown(others, value=others[1] if len(others) > 1 else NONE),
            gr.Textbox(visible=not files, label=help_text),
            gr.Column(visible=files),
        )

    def show(name: str, text: str, path: str | None) -> tuple[Any, str]:
        if name == NONE:
            return None, ""
        given = read(path) if exports.open(name).reads_files else text
        if given is None or given == "":
            return None, ""
        try:
            answer = exports.answer(name, given)
        except PipelineError as error:
            return None, tables.error(str(error))
        return dict(answer.prediction.top), tables.probabilities(answer)

    with gr.Row():
        models = [
            gr.Dropdown(exports.names, label="Model", elem_id="models-first"),
            gr.Dropdown([NONE], value=NONE, label="Side by side with", elem_id="models-second"),
        ]
    text = gr.Textbox(label="Input", max_length=100_000, elem_id="models-text")
    with gr.Column(visible=False) as place:
        file = picture_file("Input: a picture", "models-file")
    quick: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private"}
    shown: list[Any] = []  # for each place: the function, its inputs, its outputs
    shown = []
    with gr.Row():
        for number, model in enumerate(models):
            with gr.Column(min_width=280):
                about = gr.HTML(elem_id=f"models-facts-{number}")
                label = gr.Label(label="Answer", num_top_classes=5, elem_id=f"models-answer-{number}")
                steps = gr.HTML(elem_id=f"models-steps-{number}")
            shown.append((show, [model, text, file], [label, steps]))
            gr.on([model.change, item.select], known, model, about, **quick)
    quick |= {"concurrency_id": PICTURES}
    for function, inputs, outputs in shown:
        gr.on([text.change, file.change], function, inputs, outputs, trigger_mode="always_last", **quick)
    models[1].change(*shown[1], **quick)
    # The models of its task are known before one of them is asked.
    chain = gr.on([models[0].change, item.select], chosen, models[0], [models[1], text, place], **quick)
    for function, inputs, outputs in shown:
        chain = chain.then(function, inputs, outputs, **quick)
