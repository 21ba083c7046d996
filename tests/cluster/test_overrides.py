"""The parameters that a sweep changes, checked before anything starts."""

import json
from pathlib import Path

import pytest

from pipeline import config
from pipeline.cluster import overrides
from pipeline.errors import PipelineError
from pipeline.files import parse_yaml
from tests.harness import project

MODEL = "bits-lstm24"
FAST = f"models.{MODEL}.recipes.fast"


@pytest.fixture
def folder(untrained_project: Path) -> Path:
    return untrained_project


def planned(*grid: str, search: tuple[str, ...] = (), trials: int | None = None) -> list[overrides.TrialParams]:
    return overrides.trials(MODEL, grid, search, trials, config.load())


def test_a_grid_has_all_combinations(folder: Path) -> None:
    found = planned("seed=1,2", "network.units=[4],[6]")
    assert [trial.overrides for trial in found] == [
        {"seed": seed, f"models.{MODEL}.network.units": units} for seed in (1, 2) for units in ([4], [6])
    ]
    for trial in found:
        params = parse_yaml(trial.text)
        assert params["seed"] == trial.overrides["seed"] == trial.setup.seed
        assert params["models"][MODEL]["network"]["units"] == trial.setup.network.units
    assert [trial.setup.seed for trial in planned("seed=1,1,2")] == [1, 2]


def test_nothing_else_of_params_yaml_changes(folder: Path) -> None:
    before = Path("params.yaml").read_text()
    (trial,) = planned("learning_rate=0.125")
    assert Path("params.yaml").read_text() == before
    expected = parse_yaml(before)
    expected["models"][MODEL]["recipes"]["fast"]["learning_rate"] = 0.125
    assert parse_yaml(trial.text)["models"][MODEL] == expected["models"][MODEL]
    assert parse_yaml(trial.text) == expected


@pytest.mark.parametrize(
    ("model", "recipe", "key"),
    [
        (MODEL, "fast", "learning_rate"),  # `best` merges `fast` by its anchor
        (MODEL, "fast", "init.forget_bias"),
        (MODEL, "best", "init.forget_bias"),
        ("fable-lstm512", "fast", "learning_rate"),  # `best` is `fast` by its anchor
        ("fable-lstm512", "published", "init.stddev"),  # of another model, too
    ],
)
def test_recipes_that_share_an_anchor_keep_their_values(model: str, recipe: str, key: str) -> None:
    before = (project.ROOT / "params.yaml").read_text()
    after = overrides.with_values(before, {f"models.{model}.recipes.{recipe}.{key}": 0.5})
    expected = json.loads(json.dumps(parse_yaml(before)))  # nothing is shared
    *sections, name = f"{recipe}.{key}".split(".")
    section = expected["models"][model]["recipes"]
    for each in sections:
        section = section[each]
    assert section[name] != 0.5
    section[name] = 0.5
    assert parse_yaml(after) == expected
    for comment in ("# the one source of all randomness", "# each prefix has its own count", "# 2.1 epochs"):
        assert comment in after


def test_values_have_the_grammar_of_dvc(folder: Path) -> None:
    found = planned("seed=range(1,4)", "optimizer=choice(adam,'rmsprop')", "dropout=0.0,1e-1")
    assert [list(trial.overrides.values()) for trial in found] == [
        [seed, optimizer, dropout] for seed in (1, 2, 3) for optimizer in ("adam", "rmsprop") for dropout in (0.0, 0.1)
    ]


@pytest.mark.parametrize(
    ("key", "full"),
    [
        ("learning_rate", f"{FAST}.learning_rate"),
        ("init.forget_bias", f"{FAST}.init.forget_bias"),
        (f"{FAST}.learning_rate", f"{FAST}.learning_rate"),
        ("dropout", f"{FAST}.dropout"),  # which params.yaml leaves out
        ("split.train", "tasks.bits.split.train"),
        ("seed", "seed"),
    ],
)
def test_a_key_may_leave_out_the_prefix_of_its_section(folder: Path, key: str, full: str) -> None:
    value = {"split.train": 90, "seed": 3}.get(key, 0.5)
    (trial,) = planned(f"{key}={value}")
    assert trial.overrides == {full: value}


@pytest.mark.parametrize(
    ("grid", "sentence"),
    [
        (["learning_rat=1"], f"{MODEL} does not depend on 'learning_rat'; use one of "),
        (["models.mnist-lstm128.network.units=[3]"], "does not depend on 'models.mnist-lstm128.network.units'"),
        (["learning_rate=0.1,two"], "got 'two'; input should be a valid number"),
        (["learning_rate=0.1,-1"], f"{FAST}.learning_rate=-1: params.yaml: {FAST}.learning_rate: got -1;"),
        (["batch_size=10", "batch_size=20"], "batch_size is given twice"),
        (["seed"], "'seed' is not KEY=VALUE"),
        (["seed="], "'seed=' is not KEY=V1,V2"),
        (["seed=["], "'seed=[' is not KEY=V1,V2"),
        ([], "the sweep has 0 trials, expected 1 to 10,000"),
        (["seed=" + ",".join(map(str, range(200))), "batch_size=" + ",".join(map(str, range(1, 60)))], "11,800 trials"),
        (["recipe=slow"], f"models.{MODEL}.recipe: got 'slow', expected one of its `recipes`: fast, best"),
        (["network.units=[0]"], "greater than or equal to 1"),
        (["learning_rate=nan"], "learning_rate: got nan"),
        (["seed=shuffle(1,2)"], "'seed=shuffle(1,2)' is not KEY=V1,V2"),
        (["seed=interval(1,2)"], "'seed=interval(1,2)' is not KEY=V1,V2"),
        (["seed=range(0,1000000000000)"], "10,001 trials"),
        (["task=mnist"], "does not depend on 'task'"),
        (["network.cell.foo=1"], f"'models.{MODEL}.network.cell.foo' is not a parameter: cell has a value"),
        (["learning_rate.x=1"], "is not a parameter: learning_rate has a value"),
        (
            [f"{key}=" + ",".join(map(str, range(1, 900))) for key in ("seed", "epochs", "batch_size")],
            "726,572,699 trials",
        ),
    ],
)
def test_what_params_yaml_may_not_have_is_refused_in_a_sentence(folder: Path, grid: list[str], sentence: str) -> None:
    with pytest.raises(PipelineError) as refused:
        planned(*grid)
    assert sentence in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    "text",
    [
        "learning_rate=normal(0,1)",
        "learning_rate=loguniform(0,1)",
        "learning_rate=loguniform(1)",
        "learning_rate=uniform(2,1)",
        "learning_rate=uniform(a,b)",
        "batch_size=randint(1.5,3)",
        "batch_size=choice()",
        "learning_rate=0.1",
        "learning_rate=uniform(0,[)",
        "learning_rate=uniform(0,.inf)",
        "seed=randint(0,1180591620717411303424)",
    ],
)
def test_a_distribution_that_is_none_is_refused(folder: Path, text: str) -> None:
    with pytest.raises(PipelineError, match=r"is not KEY=uniform\(LOW,HIGH\), loguniform"):
        planned(search=(text,), trials=3)


def test_search_and_trials_belong_together(folder: Path) -> None:
    for arguments in ({"search": ("learning_rate=uniform(0.1,0.2)",)}, {"trials": 3}):
        with pytest.raises(PipelineError, match="--search and --trials belong together"):
            planned("seed=1", **arguments)


@pytest.mark.cluster
def test_random_values_are_in_their_range_and_come_from_the_seed(folder: Path) -> None:
    search = ("learning_rate=loguniform(1e-4,1e-1)", "batch_size=randint(5,9)", "optimizer=choice(adam,rmsprop)")
    found = [trial.overrides for trial in planned("split.train=90,95", search=search, trials=20)]
    assert len(found) == 40
    rates = [values[f"{FAST}.learning_rate"] for values in found]
    assert all(1e-4 <= rate <= 1e-1 and float(f"{rate:.4g}") == rate for rate in rates)
    assert min(rates) < 1e-3
    assert max(rates) > 1e-2
    assert {values[f"{FAST}.batch_size"] for values in found} == {5, 6, 7, 8}
    assert {values[f"{FAST}.optimizer"] for values in found} == {"adam", "rmsprop"}
    again = [trial.overrides for trial in planned("split.train=90,95", search=search, trials=20)]
    assert found == again
    project.change(folder, "seed", 99)
    assert found != [trial.overrides for trial in planned("split.train=90,95", search=search, trials=20)]


@pytest.mark.cluster
def test_one_value_of_a_list_is_a_list(folder: Path) -> None:
    (trial,) = planned("seed=1", search=("network.units=choice([24],[48])",), trials=1)
    assert trial.overrides[f"models.{MODEL}.network.units"] in ([24], [48])
