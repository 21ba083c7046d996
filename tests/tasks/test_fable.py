import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.dataset import DatasetInfo, Examples
from pipeline.errors import PipelineError
from pipeline.predictions import ROWS, Predictions
from pipeline.tasks.fable import features
from pipeline.tasks.fable.data import Data, tokenize
from pipeline.tasks.fable.evaluation import Evaluation, plot_errors
from pipeline.tasks.fable.inputs import Inputs
from pipeline.tasks.fable.ngram import KneserNey
from tests.harness import datasets
from tests.harness.examples import predictions as made_predictions
from tests.harness.model import FunctionModel

data, evaluation, inputs = Data(), Evaluation(), Inputs()

STORY = "the cat and the dog and the cat ."


def generate_and_split(folder: Path, text: str, context: int = 3) -> Examples:
    source = folder / "story.txt"
    source.write_text(text, encoding="utf-8")
    data.generate(data.Generate(), source, folder)
    return data.split(data.Split(context=context), folder, np.random.default_rng(1))


def predictions(examples: Examples, predicted: np.ndarray) -> Predictions:
    return made_predictions(examples.info, examples.encoded, examples.targets, predicted)


def ceiling(examples: Examples) -> float:
    metrics, _ = evaluation.evaluate(examples, predictions(examples, examples.targets), FunctionModel())
    assert list(metrics) == ["ceiling"]
    return float(metrics["ceiling"])


def test_tokens_are_words_and_marks() -> None:
    assert tokenize('He said: "Don\'t—a well-known CAT!"') == [
        "he", "said", ":", '"', "don't", "—", "a", "well-known", "cat", "!", '"',
    ]  # fmt: skip


def test_windows_are_the_story(tmp_path: Path) -> None:
    examples = generate_and_split(tmp_path, STORY)
    info = examples.info
    assert info.class_names == ["the", "cat", "and", "dog", "."], "by frequency, ties in order of appearance"
    assert info.dataset == "story"
    windows = [inputs.decode(code, info) for code in examples.encoded]
    assert windows[0] == "the cat and"
    assert windows[-1] == "and the cat"
    assert [info.class_names[i] for i in examples.targets] == ["the", "dog", "and", "the", "cat", "."]
    assert features.features(examples.encoded, info)[0].tolist() == [[0.0], [1.0], [2.0]], "class numbers as floats"


@given(st.lists(st.sampled_from("abc"), min_size=3, max_size=60))
def test_the_ceiling_is_the_best_that_the_contexts_allow(
    tmp_path_factory: pytest.TempPathFactory, words: list[str]
) -> None:
    examples = generate_and_split(tmp_path_factory.mktemp("any"), " ".join(words), context=2)
    windows = [words[i : i + 3] for i in range(len(words) - 2)]
    assert len(examples.targets) == len(windows)
    contexts = {(first, second) for first, second, _ in windows}
    best = sum(max(windows.count([*context, follower]) for follower in "abc") for context in contexts)
    assert ceiling(examples) == pytest.approx(best / len(windows))


def test_the_ceiling_counts_a_context_with_two_followers(tmp_path: Path) -> None:
    # "a b c" is followed by d, e, d: one of nine windows must be missed.
    assert ceiling(generate_and_split(tmp_path, "a b c d a b c e a b c d")) == 8 / 9


def test_what_an_evaluation_does_not_keep_counts_too(tmp_path: Path) -> None:
    examples = generate_and_split(tmp_path, "a b c d a b c e a b c d")
    wrong = (examples.targets + 1) % len(examples.info.class_names)
    whole = predictions(examples, wrong)
    kept = replace(whole, **{name: getattr(whole, name)[:3] for name in ROWS})  # as of a very long story
    metrics, figure = evaluation.evaluate(examples, kept, FunctionModel())
    assert metrics["ceiling"] == 8 / 9
    assert figure.get_suptitle().startswith("story: 9 of 9 words wrong")


def test_a_million_words_work(tmp_path: Path) -> None:
    numbers = np.random.default_rng(1).zipf(1.3, 1_000_000) % 5000
    examples = generate_and_split(tmp_path, " ".join(f"w{number}" for number in numbers))
    assert len(examples.targets) == 999_997
    counts = np.bincount(examples.encoded[:, 0])
    assert (np.diff(counts) <= 1).all(), "classes by frequency; the last three words begin no window"


@pytest.mark.parametrize("text", ["", "one two three", " \n "])
def test_a_story_no_longer_than_the_context_is_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(PipelineError, match=r"tokens\.txt holds \d tokens, too few to train with tasks\."):
        generate_and_split(tmp_path, text)


@given(st.integers(0, 60), st.integers(1, 20), st.sampled_from([0.0, 0.01, 0.3, 0.9]))
def test_the_outline_of_a_story_is_what_the_split_makes_of_it(
    tmp_path_factory: pytest.TempPathFactory, words: int, context: int, test_share: float
) -> None:
    """It refuses the same values, and a story that is damaged after its first words is not read to its end."""
    folder = tmp_path_factory.mktemp("outline")
    (folder / "story.txt").write_text(" ".join("abc"[number % 3] for number in range(words)))
    params = data.Split(context=context, test_share=test_share)
    data.generate(data.Generate(), folder / "story.txt", folder)
    try:
        expected = data.split(params, folder, np.random.default_rng(1)).outline
    except PipelineError as error:
        with pytest.raises(PipelineError, match=f"holds {words} tokens, too few to train"):
            data.outline(data.Generate(), params, folder / "story.txt")
        assert "too few to train" in str(error)
    else:
        assert data.outline(data.Generate(), params, folder / "story.txt") == expected


def test_a_source_that_is_not_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / "bad.txt").write_bytes(b"abc\xff")
    with pytest.raises(PipelineError, match=r"bad\.txt is not UTF-8 text \(byte 3\)"):
        data.generate(data.Generate(), tmp_path / "bad.txt", tmp_path)


def test_a_story_without_spaces_is_refused_before_it_fills_the_memory(tmp_path: Path) -> None:
    (tmp_path / "long.txt").write_text("a" * 3_000_000)
    with pytest.raises(PipelineError, match=r"long\.txt has more than 1,000,000 characters without a space"):
        data.generate(data.Generate(), tmp_path / "long.txt", tmp_path)
    assert not list(tmp_path.glob("*.tokens.txt"))


def test_a_long_line_has_the_tokens_of_its_words(tmp_path: Path) -> None:
    words = [f"word{number}" for number in range(300_000)]  # some 3 million characters
    (tmp_path / "line.txt").write_text(" ".join(words))
    data.generate(data.Generate(), tmp_path / "line.txt", tmp_path)
    assert (tmp_path / "line.tokens.txt").read_text().split("\n")[:-1] == words


@pytest.mark.parametrize("kind", ["folder", "pipe"])
def test_a_source_that_is_no_file_is_refused(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "source.txt"
    path.mkdir() if kind == "folder" else os.mkfifo(path)
    with pytest.raises(PipelineError, match=r"source\.txt is not a text file; name one in tasks\.fable\.source"):
        data.generate(data.Generate(), path, tmp_path)


def test_the_published_text_has_its_known_numbers(tmp_path: Path) -> None:
    examples = generate_and_split(tmp_path, datasets.published_text())
    assert (len(examples.targets), len(examples.info.class_names)) == (201, 112)
    assert ceiling(examples) == 199 / 201


def test_an_unknown_word_is_refused_with_the_nearest_known_one(tmp_path: Path) -> None:
    info = generate_and_split(tmp_path, STORY).info
    assert inputs.encode("The cat  AND", info).tolist() == [0, 1, 2]
    with pytest.raises(PipelineError, match="'catt' is not a word of story; use one that is, such as 'cat'"):
        inputs.encode("the catt and", info)
    with pytest.raises(PipelineError, match="'the cat' has 2 words and marks, expected 3"):
        inputs.encode("the cat", info)


def test_the_sample_line_shows_window_prediction_and_target(tmp_path: Path) -> None:
    examples = generate_and_split(tmp_path, STORY)
    line = evaluation.sample_line(examples.encoded[0], 3, 0, examples.info)
    assert line == "[the cat and] -> predicted [dog], target [the]"


def test_the_picture_marks_wrong_words(tmp_path: Path) -> None:
    examples = generate_and_split(tmp_path, STORY)
    predicted = examples.targets.copy()
    predicted[1] = 4
    figure = plot_errors(predictions(examples, predicted))
    texts = [(text.get_text(), text.get_color()) for text in figure.axes[0].texts]
    assert [text for text, colour in texts if colour == "#c0392b"] == ["."], "the prediction, in red"
    assert [text for text, colour in texts if colour == "#1e8449"] == ["dog"], "the story, in green"


def test_text_is_split_in_tokens_whatever_its_script() -> None:
    assert tokenize("e\u0301te\u0301") == tokenize("\u00e9t\u00e9") == ["\u00e9t\u00e9"], "NFC"
    assert tokenize("狂人日记。ABC 猫") == ["狂", "人", "日", "记", "。", "abc", "猫"]
    assert tokenize("हिन्दी में") == ["हिन्दी", "में"], "vowel signs belong to their word"


def test_words_have_a_space_between_them_but_for_two_chinese_characters() -> None:
    words = ["狂", "人", "。", "abc", "猫"]
    info = DatasetInfo("fable", "story", False, (3, 1), words, "train", True, "", {"train": 1})
    assert inputs.decode(np.arange(5), info) == "狂人 。 abc 猫"


def test_the_last_tenth_of_a_text_tests(tmp_path: Path) -> None:
    source = tmp_path / "story.txt"
    source.write_text(" ".join(f"w{i % 17}" for i in range(103)))
    data.generate(data.Generate(), source, tmp_path)
    examples = data.split(data.Split(context=3, test_share=0.1), tmp_path, np.random.default_rng(1))
    assert examples.info.splits == {"train": 90, "test": 10}
    assert examples.split("test")[1].tolist() == examples.targets[-10:].tolist()


def test_kneser_ney_is_a_distribution_and_knows_what_it_counted() -> None:
    tokens = np.random.default_rng(1).integers(0, 7, 300).tolist()
    model = KneserNey(tokens, 3, 9)
    for context in [(0, 1), (3, 3), (8, 8), (tokens[4], tokens[5])]:
        probabilities = [model.probability(context, token) for token in range(9)]
        assert sum(probabilities) == pytest.approx(1)
        assert min(probabilities) > 0, "of tokens that did not occur, too"
    certain = KneserNey([0, 1, 2] * 50, 3, 9)
    assert certain.probability((0, 1), 2) > 0.9


def test_perplexity_is_compared_with_counting_where_the_text_has_a_test_split(tmp_path: Path) -> None:
    source = tmp_path / "story.txt"
    source.write_text("a b c d e " * 40)
    data.generate(data.Generate(), source, tmp_path)
    examples = data.split(data.Split(context=3, test_share=0.1), tmp_path, np.random.default_rng(1))
    encoded, targets = examples.split("train")
    made = made_predictions(examples.info, encoded, targets, targets)
    uniform = np.full(5, 0.2, np.float32)
    metrics, _ = evaluation.evaluate(
        examples, made, FunctionModel(lambda x: {"probabilities": np.tile(uniform, (len(x), 1))})
    )
    assert metrics["test_perplexity"] == pytest.approx(5, rel=1e-5)
    assert 1 <= metrics["test_perplexity_kneser_ney"] < 1.2
    assert metrics["ceiling"] == 1
