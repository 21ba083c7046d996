"""A network and the recipes that train it, as params.yaml says, with the defaults of what it leaves out."""

from collections.abc import Callable
from typing import Annotated, Literal

from pydantic import Field, model_validator

from pipeline.section import Section

Width = Annotated[int, Field(ge=1, le=8192)]  # of a layer
Count = Annotated[int, Field(ge=1, le=100_000_000)]
Value = Annotated[float, Field(ge=-100, le=100)]  # the first value of a weight
OnReport = Callable[[dict[str, float]], None]  # what a training calls with each row that it logs: step, loss, accuracy


class Network(Section):
    """The layers between an example (steps, features) and its class."""

    cell: Literal["lstm", "gru", "rnn"] = "lstm"
    units: Annotated[list[Width], Field(min_length=1, max_length=16)]  # of each recurrent layer, first to last
    dense: Width | None = None  # units of a linear layer before them, applied at every step; null: none
    embedding: Width | None = None  # values of a learned vector for each class, which stands for a step's number

    @property
    def layer_names(self) -> list[str]:
        """The names of the recurrent layers: lstm_1, lstm_2."""
        return [f"{self.cell}_{depth}" for depth in range(1, len(self.units) + 1)]


class Init(Section):
    """The first values of the weights. kernel, stddev and bias are those of the dense layers."""

    kernel: Literal["glorot-uniform", "normal", "truncated-normal"] = "glorot-uniform"
    stddev: Annotated[float, Field(gt=0, le=100)] | None = None  # of the two normal distributions
    bias: Value | Literal["normal"] = 0.0  # a constant, or drawn like the kernel
    # Of an LSTM, both. tensorflow-1: both kernels as one, uniform within sqrt(3 / (features + units)).
    recurrent: Literal["keras", "tensorflow-1", "zeros"] = "keras"
    forget_bias: Value = 1.0

    @model_validator(mode="after")
    def _stddev_belongs_to_normal(self) -> "Init":
        if (self.stddev is None) != (self.kernel == "glorot-uniform"):
            raise ValueError("normal and truncated-normal kernels need a stddev, a glorot-uniform kernel needs null")
        if self.bias == "normal" and self.kernel == "glorot-uniform":
            raise ValueError("a normal bias needs the stddev of a normal kernel")
        return self


class Augment(Section):
    """How far each image is transformed at random, every time that it is drawn: up to these values, either way."""

    rotation: Annotated[float, Field(ge=0, le=180)]  # degrees
    scale: Annotated[float, Field(ge=0, lt=1)]  # of each side: 0.1 reads a part that is up to 10 % longer or shorter
    shear: Annotated[float, Field(ge=0, lt=1)]  # columns that a row moves for each row below the centre
    shift: Annotated[float, Field(ge=0, le=1000)]  # pixels
    elastic: Annotated[float, Field(ge=0, le=1000)] = 0.0  # pixels: standard deviation of a smooth random displacement


class Recipe(Section):
    """How a network is trained, and how its class is read out."""

    steps: Count | None = None  # batches in all
    epochs: Count | None = None  # instead of steps: passes over the training split
    batch_size: Annotated[int, Field(ge=1, le=100_000)]  # examples of a step
    order: Literal["fixed", "shuffled", "walk"] = "shuffled"  # see training.batches
    log_every: Count  # steps between two rows of the history
    monitor: Literal["validation", "test"] | None = None  # a split that is measured at each log, too
    # count: the class is a number, read from the cell state of the last layer; see networks.count
    readout: Literal["softmax", "count"] = "softmax"
    # Which steps the loss compares. every-step: with the task's `step_targets`; if it has none, with the class of
    # the example.
    supervise: Literal["last-step", "every-step"] = "last-step"
    step_power: Annotated[float, Field(ge=0, le=100)] = 0.0  # the loss of step t counts t to this power; 0: all alike
    augment: Augment | None = None
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0  # share dropped from each recurrent layer's output
    optimizer: Literal["adam", "muon", "rmsprop", "rmsprop-tensorflow-1"] = "adam"
    learning_rate: Annotated[float, Field(gt=0, le=1)]  # the peak, if the schedule is one-cycle
    schedule: Literal["constant", "one-cycle"] = "one-cycle"
    global_clipnorm: Annotated[float, Field(gt=0, le=1e6)] | None = None  # the longest gradient, all weights as one
    # L1 proximal step: after each step, recurrent weights are soft-thresholded by this times the learning rate, so that
    # those that are not needed become exactly zero; see networks.loss_and_optimizer.
    proximal_l1: Annotated[float, Field(ge=0, le=1000)] = 0.0
    loss: Literal["cross-entropy", "squared-error"] = "cross-entropy"  # squared-error: of the number of a count
    loss_reduction: Literal["sum", "mean", "mean-over-classes"] = "mean"  # of the loss over a batch
    min_probability: Annotated[float, Field(gt=0, lt=1)] | None = None  # the loss clips below it; null: no clipping
    init: Init = Init()

    @model_validator(mode="after")
    def _one_length(self) -> "Recipe":
        if (self.steps is None) == (self.epochs is None):
            raise ValueError("a recipe needs steps or epochs, and not both")
        if self.order == "walk" and self.epochs:
            raise ValueError("a walk has no epochs, since it reads the text from new beginnings; give it steps")
        return self

    @model_validator(mode="after")
    def _a_squared_error_is_one_of_numbers(self) -> "Recipe":
        if self.loss == "squared-error" and self.readout != "count":
            raise ValueError("a squared-error is one of numbers, which readout: count gives; set one as the other")
        return self

    @model_validator(mode="after")
    def _a_step_power_weights_every_step(self) -> "Recipe":
        if self.step_power and self.supervise != "every-step":
            raise ValueError("a step_power weights the steps of supervise: every-step; set that, or leave it out")
        return self

    def total_steps(self, examples: int) -> int:
        """How many steps a training takes whose training split has so many examples."""
        return self.steps or -(-(self.epochs or 0) * examples // self.batch_size)
