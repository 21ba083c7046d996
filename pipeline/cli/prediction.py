"""The command `pipeline predict`."""

from pathlib import Path
from typing import Annotated

import typer

from pipeline.cli import terminal
from pipeline.cli.app import ModelName, app


@app.command(cls=terminal.PredictCommand)
def predict(
    model: ModelName,
    inputs: Annotated[
        list[str] | None,
        typer.Argument(metavar="[INPUT]...", help="see below; - reads one from each line of standard input"),
    ] = None,
    words: Annotated[int, typer.Option(min=1, max=10_000, help="how many words to continue a story by")] = 32,
    temperature: Annotated[
        float, typer.Option(min=0.0, max=100.0, help="draw the words of a story: 1 as the model says; 0 takes the best")
    ] = 0.0,
    seed: Annotated[int, typer.Option(min=0, help="of the words that are drawn")] = 0,
    top: Annotated[int, typer.Option(min=1, help="how many of the most probable classes to show")] = 3,
    digits: Annotated[bool, typer.Option("--digits", help="read all the digits of a picture, left to right")] = False,
    show: Annotated[
        str | None,
        typer.Option(metavar="[FILE.png]", help="show the images that the model sees, in the terminal or in a file"),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="print one JSON object for each input")] = False,
) -> None:
    """Predict from models/MODEL/export; without INPUT, ask for inputs in the terminal."""
    from pipeline.inference import images, predict

    predictor = predict.load(model)
    options = predict.Options(words, temperature, seed, digits, top)
    terminal.check_show(show, inputs)
    if inputs == ["-"]:
        terminal.show_stream(predictor.predict(terminal.stdin_lines(), options), as_json)
        return
    asked = not inputs
    predictions, failed = [], False
    for result in predictor.predict(inputs or terminal.prompt(), options, batch_size=1 if asked else predict.BATCH):
        failed |= terminal.show(result, as_json, named=len(inputs or []) > 1)
        if show and isinstance(result, predict.Prediction):
            predictions.append(predictor.image(result))
            if show == "-":
                typer.echo(images.blocks(predictions[-1]), err=as_json)
    if predictions and show != "-":
        images.save(predictions, Path(str(show)))
    if predictor.info.stand_in and not failed:
        typer.echo(f"note: {model} learned {predictor.info.dataset}, which stands in for another dataset", err=True)
    raise typer.Exit(2 if failed and not asked else 0)
