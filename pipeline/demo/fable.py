"""The tab `Fable`: begin a story, and let a model go on."""

import itertools
from typing import Any

import gradio as gr
import numpy as np

from pipeline.demo import tables
from pipeline.demo.exports import Exports
from pipeline.errors import PipelineError
from pipeline.inference.predict import Options, Predictor
from pipeline.inference.story import Word

LONGEST = 200  # words of a story
WALK = 80  # words of the walk that finds suggestions
SUGGESTED = 6


def tab(page: gr.Blocks, exports: Exports, names: list[str]) -> None:
    """The tab on a page, with the models that continue stories."""

    def show(name: str, text: str, number: int, temperature: float, seed: float) -> tuple[int, str]:
        try:
            continued = _continuation(exports.open(name), text, number, temperature, int(seed or 0))
        except PipelineError as error:
            return 0, tables.error(str(error)) if text.strip() else ""
        ended = len(continued) < number
        return len(continued), tables.story(text, continued, exports.open(name).info.class_names, ended)

    def next_word(name: str, text: str, number: int, temperature: float, seed: float) -> tuple[int, str]:
        return show(name, text, min(number + 1, LONGEST), temperature, seed)

    def to_the_end(name: str, text: str, number: int, temperature: float, seed: float) -> tuple[int, str]:
        return show(name, text, LONGEST, temperature, seed)

    def begin(name: str, text: str, temperature: float, seed: float) -> tuple[int, str]:
        return show(name, text, 1, temperature, seed)

    try:
        suggested = suggestions(exports.open(names[0]))
    except PipelineError:  # a damaged network, which the tab names when it is asked
        suggested = []
    number = gr.State(1, time_to_live=3600)  # of words that are shown
    with gr.Row():
        with gr.Column(scale=1, min_width=280):
            model = gr.Dropdown(names, label="Model")
            steps = exports.open(names[0]).info.shape[0]
            text = gr.Textbox(
                next(iter(suggested), ""), label=f"{steps} words of the story", max_length=1000, elem_id="fable-text"
            )
            if suggested:
                gr.Examples(suggested, text, label="Suggestions, of which the first could go on in more than one way")
            temperature = gr.Slider(
                0, 2, 0, step=0.1, label="Temperature: 0 takes the most probable word, 1 draws as the model says"
            )
            seed = gr.Number(0, label="Seed of what is drawn", precision=0)
        with gr.Column(scale=2, min_width=280):
            story = gr.HTML(elem_id="fable-story")
            with gr.Row():
                one = gr.Button("Next word", variant="primary", elem_id="fable-next")
                end = gr.Button("To the end", elem_id="fable-end")
            gr.Markdown(
                "Below each word: its probability. Point at a word, or move to it with Tab, to see what else could "
                "have followed. Marked words follow a context that does not decide."
            )
    quick: dict[str, Any] = {"show_progress": "hidden", "concurrency_limit": 4, "api_visibility": "private"}
    inputs, outputs = [model, text, number, temperature, seed], [number, story]
    one.click(next_word, inputs, outputs, **quick)
    end.click(to_the_end, inputs, outputs, **quick)
    for changed in (text.change, page.load):
        changed(begin, [model, text, temperature, seed], outputs, trigger_mode="always_last", **quick)
    for changed in (model.change, temperature.release, seed.change):
        changed(show, inputs, outputs, trigger_mode="always_last", **quick)


def suggestions(predictor: Predictor) -> list[str]:
    """Contexts of the story that a model tells itself: ambiguous ones first. At least one."""
    names, steps = predictor.info.class_names, predictor.info.shape[0]
    begin = " ".join(names[:1] * steps)
    walk = list(itertools.islice(predictor.words(begin, Options(temperature=1.0, seed=1)), WALK + 2 * steps))
    contexts: dict[str, float] = {}
    for end in range(2 * steps, len(walk)):
        context = " ".join(names[word.index] for word in walk[end - steps : end])
        contexts.setdefault(context, float(np.sort(walk[end].probabilities)[-2]))
    return sorted(contexts, key=lambda context: -contexts[context])[:SUGGESTED]


def _continuation(predictor: Predictor, text: str, number: int, temperature: float, seed: int) -> list[Word]:
    """At most so many words, and none after the story has come back to a context: it would go in circles."""
    continued: list[Word] = []
    seen: set[tuple[int, ...]] = set()
    steps = predictor.info.shape[0]
    for word in itertools.islice(predictor.words(text, Options(temperature=temperature, seed=seed)), number):
        continued.append(word)
        context = tuple(each.index for each in continued[-steps:])
        if temperature == 0 and len(context) == steps and context in seen:
            break
        seen.add(context)
    return continued
