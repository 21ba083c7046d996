"""The command `pipeline explain`."""

from pathlib import Path
from typing import Annotated

import typer

from pipeline.cli.app import ModelName, app
from pipeline.cli.terminal import echo, echo_json


@app.command()
def explain(
    model: ModelName,
    given: Annotated[str, typer.Argument(metavar="INPUT", help="as for `pipeline predict`", show_default=False)],
    output: Annotated[
        Path | None, typer.Option(metavar="FILE.png", help="where to draw it; by default explain-MODEL.png")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="print all values as one JSON object")] = False,
) -> None:
    """Draw what happens inside a network while it reads an input: states, gates and probabilities, step by step."""
    from pipeline.inference import explain, predict

    explanation = explain.explain(predict.load(model), given)
    picture = output or Path(f"explain-{model}.png")
    explain.save(explanation, picture)
    if as_json:
        echo_json(explain.as_json(explanation, picture))
    else:
        echo(explain.text(explanation, picture))
