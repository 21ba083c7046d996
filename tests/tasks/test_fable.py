from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline import data
from pipeline.errors import BadInput
from pipeline.tasks import fable
from tests import tiny

PUBLISHED = tiny.ROOT.parent / "shared" / "data" / "fable" / "belling_the_cat.txt"


def windows(folder: Path, text: str, context: int = 3) -> data.Examples:
    source = folder / "story.txt"
    source.write_text(text, encoding="utf-8")
    fable.generate(fable.Generate(), source, folder)
    return fable.split(fable.Split(context=context), folder, np.random.default_rng(1))


def answers(examples: data.Examples, said: np.ndarray) -> data.Answers:
    return data.Answers(examples.card, examples.codes, examples.classes, said, np.ones(len(said), np.float32))


def test_tokens_are_words_and_marks() -> None:
    assert fable.tokenise('He said: "Don\'t—a well-known CAT!"') == [
        "he", "said", ":", '"', "don't", "—", "a", "well-known", "cat", "!", '"',
    ]  # fmt: skip


def test_windows_are_the_story(tmp_path: Path) -> None:
    examples = windows(tmp_path, "the cat and the dog and the cat .")
    assert examples.card.labels == ["the", "cat", "and", "dog", "."], "by frequency, ties in order of appearance"
    assert examples.card.dataset == "story"
    said = [fable.write(code, examples.card.labels) for code in examples.codes]
    assert said[0] == "the cat and"
    assert said[-1] == "and the cat"
    assert [examples.card.labels[i] for i in examples.classes] == ["the", "dog", "and", "the", "cat", "."]
    assert fable.features(examples.codes, (3, 1))[0].tolist() == [[0.0], [1.0], [2.0]], "a word's number, a plain float"


@given(st.lists(st.sampled_from("abcdef"), min_size=4, max_size=60))
def test_any_text_longer_than_the_context_works(tmp_path_factory: pytest.TempPathFactory, words: list[str]) -> None:
    examples = windows(tmp_path_factory.mktemp("any"), " ".join(words))
    assert len(examples.classes) == len(words) - 3
    best = fable.metrics(answers(examples, examples.classes))["ceiling"]
    assert 0 < best <= 1


def test_a_million_words_work(tmp_path: Path) -> None:
    numbers = np.random.default_rng(1).zipf(1.3, 1_000_000) % 5000
    examples = windows(tmp_path, " ".join(f"w{number}" for number in numbers))
    assert len(examples.classes) == 999_997
    counts = np.bincount(examples.codes[:, 0])
    assert (np.diff(counts) <= 1).all(), "ever rarer; the last three words begin no window"


@pytest.mark.parametrize("text", ["", "one two three", " \n "])
def test_a_story_no_longer_than_the_context_is_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(BadInput, match=r"tokens\.json holds \d words and marks, expected more than"):
        windows(tmp_path, text)


def test_what_is_no_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / "bad.txt").write_bytes(b"abc\xff")
    with pytest.raises(BadInput, match=r"bad\.txt is not UTF-8 text \(byte 3\)"):
        fable.generate(fable.Generate(), tmp_path / "bad.txt", tmp_path)


def test_the_ceiling_is_the_best_that_the_contexts_allow(tmp_path: Path) -> None:
    examples = windows(tmp_path, "a b c d a b c e a b c d")
    # "a b c" is followed by d, e, d: one of nine windows must be missed.
    assert fable.metrics(answers(examples, examples.classes)) == {"ceiling": 8 / 9}


@pytest.mark.skipif(not PUBLISHED.exists(), reason="the published text is not here")
def test_the_published_text_has_its_known_numbers(tmp_path: Path) -> None:
    examples = windows(tmp_path, PUBLISHED.read_text())
    assert (len(examples.classes), len(examples.card.labels)) == (201, 112)
    assert fable.metrics(answers(examples, examples.classes))["ceiling"] == 199 / 201


def test_an_unknown_word_is_named_with_the_nearest(tmp_path: Path) -> None:
    card = windows(tmp_path, "the cat and the dog and the cat .").card
    assert fable.read("The cat,and".replace(",", " "), card).tolist() == [0, 1, 2]
    with pytest.raises(BadInput, match="'catt' is not a word of story; the nearest that is: 'cat'"):
        fable.read("the catt and", card)
    with pytest.raises(BadInput, match="'the cat' has 2 words and marks, expected 3"):
        fable.read("the cat", card)


def test_the_picture_marks_what_is_wrong(tmp_path: Path) -> None:
    examples = windows(tmp_path, "the cat and the dog and the cat .")
    said = examples.classes.copy()
    said[1] = 4
    figure = fable.draw(answers(examples, said))
    red = [text.get_text() for text in figure.axes[0].texts if text.get_color() == "#c0392b"]
    assert red == ["."]
