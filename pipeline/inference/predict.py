"""Predict what a user asks, from models/MODEL/export alone: no TensorFlow, no data, no params.yaml."""

import itertools
import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pipeline import manifest, tasks
from pipeline.dataset import DatasetInfo, load_info
from pipeline.errors import PipelineError, quoted
from pipeline.files import damaged, fits, load_json, md5
from pipeline.inference.onnx_session import Session, batches
from pipeline.inference.story import Word, following
from pipeline.paths import MODELS, ModelPaths, repro
from pipeline.tasks.inputs import UserInput

if TYPE_CHECKING:
    from pipeline.inference.trace import Arrays, Tracer

SHOWN = 0.0005  # probability of a runner-up that is printed: 0.1 %
BATCH = 64  # lines of a stream that are predicted at once
STEPS = 2**20  # of the sequences that are predicted at once
LONGEST = 1_000_000  # characters of an input
TOP = 3  # classes that are shown
CERTIFICATE = {"onnx": str, "certified_steps": int, "reason": str | None, "adds": list[float], "rounding": float}
RANGES = {"words": (1, 10_000), "temperature": (0, 100), "seed": (0, 2**63 - 1), "top": (1, 1_000_000)}


@dataclass(frozen=True)
class Options:
    """How to predict."""

    words: int = 32  # by which a story is continued
    temperature: float = 0.0  # of the words drawn: 0 takes the most probable word, 1 draws as the model says
    seed: int = 0  # of what is drawn
    digits: bool = False  # read all the digits of a picture, left to right
    top: int = TOP  # the most probable classes that a prediction has, the predicted one among them

    def __post_init__(self) -> None:
        """Raise PipelineError for a value out of its range."""
        for name, (low, high) in RANGES.items():
            if not low <= getattr(self, name) <= high:
                raise PipelineError(f"{name} is {getattr(self, name)}, expected {low:,} to {high:,}; change it.")


DEFAULT = Options()


@dataclass(frozen=True)
class Prediction:
    """The result for one input: the class, its probability, the most probable classes; of a story, its next words.

    A sequence longer than those of training has a count instead of classes.
    """

    input: str
    label: str
    probability: float | None  # 0 to 1; None if there is a count alone
    top: tuple[tuple[str, float], ...]  # class name, probability; the most probable first; none for several digits
    codes: np.ndarray  # (1, code), what was predicted, encoded; of several digits, a row for each
    count: float | None = None  # the number that was read
    certified: bool | None = None  # whether a count of so many steps is proven right
    story: str = ""  # the input and the words that follow
    probabilities: tuple[float, ...] = ()  # of each word that follows, 0 to 1

    def content(self) -> dict[str, object]:
        """What is predicted, for JSON."""
        content: dict[str, object] = {"label": self.label, "probability": self.probability}
        if self.count is not None:
            content |= {"count": self.count, "certified": self.certified}
        if self.top:
            content["top"] = [{"label": label, "probability": probability} for label, probability in self.top]
        if self.story:
            content |= {"text": self.story, "probabilities": list(self.probabilities)}
        return content

    def __str__(self) -> str:
        """One line, or two for a story; a runner-up of 0.0 % is left out."""
        if self.probability is None:
            return self.label
        shown = [f"{label} {probability:.1%}" for label, probability in self.top[1:] if probability >= SHOWN]
        best = f"{self.label}  {self.probability:.1%}" + (f"  (then {', '.join(shown)})" if shown else "")
        return f"{self.story}\n  first: {best}" if self.story else best


@dataclass(frozen=True)
class Failure:
    """The result for an input that is not valid."""

    input: str
    error: str

    def content(self) -> dict[str, object]:
        """What is wrong, for JSON."""
        return {"error": self.error}

    def __str__(self) -> str:
        return f"error: {self.error}"


Result = Prediction | Failure


def json_line(result: Result) -> str:
    """A result as one line of JSON, with its input."""
    return json.dumps({"input": result.input} | result.content(), ensure_ascii=False)


@dataclass(frozen=True)
class Predictor:
    """An exported model and the facts of its dataset."""

    name: str
    onnx: Path
    info: DatasetInfo

    @cached_property
    def _session(self) -> Session:
        again = repro("export", self.name, force=True)
        manifest.verify(self.onnx.parent, ("export", self.name), self.onnx.name)
        session = Session(self.onnx, again)
        if not session.is_of(self.info):
            raise self._other_info()
        return session

    @cached_property
    def weights(self) -> "Arrays":
        """The constants of the ONNX file by name. Raises PipelineError if it is missing, changed or no such network."""
        from pipeline.inference.trace import read_weights

        _ = self._session  # which refuses a damaged file
        weights = read_weights(self.onnx)
        if not any(name.endswith(".recurrent") for name in weights):
            raise damaged(self.onnx, repro("export", self.name, force=True), "it has no recurrent layer")
        return weights

    @cached_property
    def certificate(self) -> dict[str, Any] | None:
        """What `evaluate` proved of this ONNX file; None if it did not. Raises PipelineError if the file is damaged."""
        path = self.onnx.parent.parent / ModelPaths(self.name).certificate.name
        if not path.is_file():
            return None
        again = repro("evaluate", self.name)
        certificates: list[dict[str, Any]] = load_json(path, again, list[dict[str, Any]])
        if len(certificates) != 1 or not fits(certificates[0], CERTIFICATE):
            raise damaged(path, again)
        certificate = {name: certificates[0][name] for name in CERTIFICATE}
        return certificate if certificate["onnx"] == md5(self.onnx) else None

    @property
    def certified_steps(self) -> int:
        """Of how many steps every count is proven; 0 if of none. Raises PipelineError if the certificate is damaged."""
        return int(self.certificate["certified_steps"]) if self.certificate else 0

    @cached_property
    def _task(self) -> tasks.Task:
        return tasks.load(self.info.task)

    @property
    def reads_files(self) -> bool:
        """Whether an input is a file: its path, or its content as bytes."""
        return self._task.inputs.reads_files

    def predict(
        self, inputs: Iterable[UserInput], options: Options = DEFAULT, batch_size: int = BATCH
    ) -> Iterator[Result]:
        """A result for each input, in order. Raises PipelineError if the model's inputs do not have these options."""
        if options.digits and not self._task.inputs.several:
            raise PipelineError(f"{self.name} does not read pictures; leave out --digits.")
        of_story = [
            name for name in ("words", "temperature", "seed") if getattr(options, name) != getattr(DEFAULT, name)
        ]
        if of_story and not self.info.autoregressive:
            raise PipelineError(f"{self.name} does not go on with a story; leave out --{of_story[0]}.")
        numbered = enumerate(inputs)
        while batch := dict(itertools.islice(numbered, batch_size)):
            results = self._predict(batch, options)
            yield from (results[number] for number in batch)

    def probabilities(self, sequence: np.ndarray) -> np.ndarray:
        """float32 (batch, classes) for features float32 (batch, steps, features). Raises PipelineError for others."""
        if sequence.ndim != 3 or not self._session.reads(sequence.shape[1:]):
            raise PipelineError(
                f"an array {sequence.shape} came, expected (batch, {self.info.shape[0]}, {self.info.shape[1]}); pass "
                "float32 features."
            )
        return self._session.probabilities(sequence)

    @cached_property
    def tracer(self) -> "Tracer":
        """What shows the states of the network."""
        from pipeline.inference.trace import Tracer

        return Tracer(self.weights)

    def features(self, given: UserInput) -> tuple[np.ndarray, list[str]]:
        """What the model reads of one input, float32 (steps, features), and a name for each step.

        Raises PipelineError if the input is not valid.
        """
        (code,) = self._encode(given, DEFAULT)
        return self._features(code[None])[0], self._task.inputs.step_names(code, self.info)

    def is_valid(self, given: UserInput) -> bool:
        """Whether the model can read an input."""
        try:
            self._encode(given, DEFAULT)
        except PipelineError:
            return False
        return True

    def words(self, given: UserInput, options: Options = DEFAULT, number: int = 0) -> Iterator[Word]:
        """The words that follow a few words of a story, without end. Inputs of other numbers draw other words.

        Raises PipelineError if the input is not valid.
        """
        (code,) = self._encode(given, DEFAULT)
        rng = np.random.default_rng([options.seed, number])
        return following(code, lambda context: self._probabilities(context[None])[0], options.temperature, rng)

    def scores(self, encoded: np.ndarray) -> np.ndarray:
        """The probabilities float32 (batch, classes) for encoded inputs (batch, code)."""
        return self._outputs(encoded)["probabilities"]

    def measures(self, code: np.ndarray) -> dict[str, float | str]:
        """What describes an encoded input (code,)."""
        return self._task.inputs.measures(code, self.info)

    def image(self, prediction: Prediction) -> np.ndarray:
        """What the model saw, uint8 (rows, columns), several digits side by side. Raises PipelineError if no image."""
        return np.hstack([self._task.inputs.image(code, self.info) for code in prediction.codes])

    def _predict(self, batch: dict[int, UserInput], options: Options) -> dict[int, Result]:
        """The results of numbered inputs. Those whose codes are as wide are predicted at once."""
        results: dict[int, Result] = {}
        by_width: defaultdict[int, dict[int, np.ndarray]] = defaultdict(dict)
        for number, given in batch.items():
            try:
                codes = self._encode(given, options)
                by_width[codes.shape[1]][number] = codes
            except PipelineError as error:
                results[number] = Failure(name_of(given), str(error))
        for encoded in by_width.values():
            outputs = self._outputs(np.concatenate(list(encoded.values())))
            ends = np.cumsum([len(codes) for codes in encoded.values()])
            for (number, codes), end in zip(encoded.items(), ends, strict=True):
                of_input = {name: values[end - len(codes) : end] for name, values in outputs.items()}
                results[number] = self._prediction(batch[number], number, codes, of_input, options)
        return results

    def _encode(self, given: UserInput, options: Options) -> np.ndarray:
        """An input, encoded: (1, code), or a row for each digit. Raises PipelineError if it is not valid."""
        if isinstance(given, str) and len(given) > LONGEST:
            raise PipelineError(f"{quoted(given)} has more than {LONGEST:,} characters; give a shorter input.")
        _ = self._session  # which refuses an info file of another model
        inputs = self._task.inputs
        return np.stack(inputs.encode_all(given, self.info) if options.digits else [inputs.encode(given, self.info)])

    def _probabilities(self, encoded: np.ndarray) -> np.ndarray:
        """float32 (batch, classes) for encoded inputs (batch, code)."""
        return self._session.probabilities(self._features(encoded))

    def _features(self, encoded: np.ndarray) -> np.ndarray:
        """Features float32 (batch, steps, features) of encoded inputs (batch, code)."""
        features = self._task.features(encoded, self.info)
        if not self._session.reads(features.shape[1:]):  # its task is of another model
            raise self._other_info()
        return features

    def _other_info(self) -> PipelineError:
        again = repro("export", self.name, force=True)
        return damaged(self.onnx.with_name("info.json"), again, f"it is not of {self.onnx.name}")

    def _outputs(self, encoded: np.ndarray) -> dict[str, np.ndarray]:
        """All that the model gives for encoded inputs (batch, code)."""
        some = [encoded[rows] for rows in batches(len(encoded), max(1, STEPS // encoded.shape[1]))]
        outputs = [self._session.run(self._features(codes)) for codes in some]
        return {name: np.concatenate([each[name] for each in outputs]) for name in outputs[0]}

    def _prediction(
        self, given: UserInput, number: int, codes: np.ndarray, outputs: Mapping[str, np.ndarray], options: Options
    ) -> Prediction:
        """What the outputs for the codes of an input say of it."""
        names, scores = self.info.class_names, outputs["probabilities"]  # (codes, classes)
        count, certified = None, None
        if "count" in outputs:
            steps = self._features(codes).shape[1]
            count, certified = float(outputs["count"][0, 0]), steps <= self.certified_steps
            if steps > self.info.shape[0]:  # there may be more ones than classes
                return Prediction(name_of(given), f"{count:z.0f}", None, (), codes, count, certified)
        top = np.argsort(-scores[0], kind="stable")[: options.top].tolist() if len(scores) == 1 else []
        without_end = self.words(given, options, number) if self.info.autoregressive else ()
        words = list(itertools.islice(without_end, options.words))
        story = [*codes[0], *(word.index for word in words)]
        return Prediction(
            input=name_of(given),
            label="".join(names[i] for i in scores.argmax(axis=1)),
            probability=float(scores.max(axis=1).prod()),
            top=tuple((names[i], float(scores[0, i])) for i in top),
            codes=codes,
            count=count,
            certified=certified,
            story=self._task.inputs.decode(np.array(story), self.info) if words else "",
            probabilities=tuple(word.probability for word in words),
        )


def inputs_by_task() -> list[tuple[str, str]]:
    """For each task its name, and what an input of it is."""
    return [(name, tasks.load(name).inputs.help) for name in tasks.names()]


def open_export(name: str, onnx: Path, info: Path) -> Predictor:
    """The exported model with these files. Raises PipelineError if its info file is damaged."""
    return Predictor(name, onnx, load_info(info, ("export", name)))


def load(name: str) -> Predictor:
    """The exported model `name` of the project in whose folder, or below it, the program was started.

    Raises PipelineError if it does not exist, or if its info file is damaged.
    """
    root, names = exports()
    if name not in names:
        of_task = [each for each in names if load_info(ModelPaths(each, root).info, ("export", each)).task == name]
        if of_task:
            raise PipelineError(f"{quoted(name)} is a task; give one of its models: {', '.join(of_task)}.")
        known = ", ".join(names)
        raise PipelineError(
            f"there is no exported model {quoted(name)}; use one of {known}, or run `dvc repro` to export the models."
        )
    paths = ModelPaths(name, root)
    return open_export(name, paths.onnx, paths.info)


def exports() -> tuple[Path, list[str]]:
    """The root of the project in whose folder, or below it, the program was started, and its exported models, sorted.

    Raises PipelineError if there is none.
    """
    here = Path.cwd()
    for folder in (here, *here.parents):
        if found := sorted((folder / MODELS).glob("*/export/info.json")):
            return Path() if folder == here else folder, [info.parent.parent.name for info in found]
    raise PipelineError(
        f"neither {here} nor a folder above it has exported models; run this command in the project, after `dvc "
        "repro`, or in a folder that holds models/MODEL/export."
    )


def name_of(given: UserInput) -> str:
    """An input as results name it."""
    return given if isinstance(given, str) else "a file"
