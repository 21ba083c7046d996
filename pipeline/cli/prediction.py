"""The command `pipeline predict`: inputs as arguments, from a stream or a prompt; a line or two for each result."""

import os
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperCommand

from pipeline.cli import terminal
from pipeline.cli.app import ModelName, app
from pipeline.cli.terminal import echo, echo_json
from pipeline.errors import PipelineError, quoted, shortened

if TYPE_CHECKING:
    from pipeline.inference.predict import Predictor, Result

SHOWN = 100  # characters of an input that are printed beside its result


class PredictCommand(TyperCommand):
    """A command whose help says what the inputs are, and whose option --show may be followed by a file."""

    def parse_args(self, ctx: Any, args: list[str]) -> Any:
        """Parse `--show` without a PNG file after it as `--show -`."""
        for i, arg in enumerate(args):
            if arg == "--show" and not (i + 1 < len(args) and args[i + 1].lower().endswith(".png")):
                args = [*args[: i + 1], "-", *args[i + 1 :]]
                break
        return super().parse_args(ctx, args)

    def format_epilog(self, ctx: Any, formatter: Any) -> None:
        """End the help with what an input is, by task."""
        from pipeline.inference import predict

        with formatter.section("Inputs, by task"):
            formatter.write_dl(predict.inputs_by_task())


@app.command(cls=PredictCommand)
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
    top: Annotated[int, typer.Option(min=1, help="how many classes to show, of those with at least 0.1 %")] = 3,
    digits: Annotated[bool, typer.Option("--digits", help="read all the digits of a picture, left to right")] = False,
    show: Annotated[
        str | None,
        typer.Option(metavar="[FILE.png]", help="show the images that the model sees, in the terminal or in a file"),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="print one JSON object for each input")] = False,
    log: Annotated[
        Path | None, typer.Option(metavar="FILE", help="append a line of JSON for each result; see `pipeline drift`")
    ] = None,
    log_inputs: Annotated[
        bool, typer.Option("--log-inputs", help="with the inputs themselves, not their hashes")
    ] = False,
) -> None:
    """Predict from models/MODEL/export; without INPUT, ask for inputs in the terminal."""
    from pipeline.inference import images, predict

    predictor = predict.load(model)
    options = predict.Options(words, temperature, seed, digits, top)
    asked, streamed = not inputs, inputs == ["-"]
    _check_show(show, streamed)
    _check_quotes(predictor, inputs or [])
    given = terminal.stdin_lines() if streamed else inputs or terminal.prompt()
    seen, failed, uncertified = [], False, False
    results = predictor.predict(given, options, batch_size=1 if asked else predict.BATCH)
    if log:
        from pipeline.inference import usage

        results = usage.logged(results, log, predictor, log_inputs)
    for result in results:
        failure = isinstance(result, predict.Failure)
        failed |= failure
        uncertified |= isinstance(result, predict.Prediction) and result.probability is None and not result.certified
        # In a stream, a failure stands in its place among the results.
        if as_json and (streamed or not failure):
            echo_json(predict.json_line(result))
        else:
            echo(_text(result, named=streamed or len(inputs or []) > 1), err=failure and not streamed)
        if show and isinstance(result, predict.Prediction):
            seen.append(predictor.image(result))
            if show == "-":
                echo(images.blocks(seen[-1]), err=as_json)
    if seen and show != "-":
        images.save(seen, Path(str(show)))
    if uncertified:
        steps = predictor.certified_steps
        proven = (
            f"counts are proven right up to {steps:,} steps, and an input has more" if steps else "no count is proven"
        )
        echo(f"note: of {model}, {proven}", err=True)
    if predictor.info.stand_in and not failed and not streamed:
        echo(f"note: {model} learned {predictor.info.dataset}, which stands in for another dataset", err=True)
    if failed and not asked:
        raise typer.Exit(1 if streamed else 2)


def _text(result: "Result", named: bool) -> str:
    """A result as its lines; if `named`, after its input, which a story begins with and an error quotes."""
    from pipeline.inference.predict import Failure

    alone = isinstance(result, Failure) or result.story
    return f"{shortened(result.input, SHOWN)}: {result}" if named and not alone else str(result)


def _check_quotes(predictor: "Predictor", inputs: list[str]) -> None:
    """Raise PipelineError if none of the inputs is valid but all of them together: a shell took the words apart."""
    together = " ".join(inputs)
    if len(inputs) < 2 or predictor.reads_files or any(map(predictor.is_valid, inputs)):
        return
    if predictor.is_valid(together):
        raise PipelineError(
            f"{len(inputs)} inputs came, and only together they are one; put them in quotes: "
            f"`pipeline predict {predictor.name} {shlex.quote(together)}`."
        )


def _check_show(show: str | None, streamed: bool) -> None:
    """Raise PipelineError if --show names a file that exists, or if the inputs are a stream."""
    if show and show != "-" and os.path.lexists(show):
        raise PipelineError(
            f"{quoted(show, 200)} exists, and --show FILE.png writes a new file; name another one, or put --show after "
            "the inputs to see the images in the terminal."
        )
    if show and streamed:
        raise PipelineError("--show needs the inputs as arguments, not a stream; name the pictures after the model.")


@app.command()
def drift(
    log: Annotated[
        Path, typer.Argument(metavar="FILE", help="written by `pipeline predict --log`", show_default=False)
    ],
    picture: Annotated[Path, typer.Option(metavar="FILE.png", help="where to draw it")] = Path("drift.png"),
) -> None:
    """Compare logged predictions with the test set of their model; exit status 1 if they differ by more than chance."""
    from pipeline.figure import write_figure
    from pipeline.inference import drift, predict, usage

    entries = usage.read(log)
    found = [drift.find(predict.load(model), entries) for model in dict.fromkeys(entry.model for entry in entries)]
    compared = [each for each in found if each.comparisons]
    echo("\n\n".join(map(str, found)))
    if not compared:
        raise PipelineError(
            f"{quoted(str(log), 200)} has too few predictions, expected at least {drift.LEAST} of one model; log more."
        )
    write_figure(drift.draw(compared), picture)
    echo(f"\npicture: {picture}")
    if any(comparison.differs for each in compared for comparison in each.comparisons):
        raise typer.Exit(1)
