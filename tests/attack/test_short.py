"""A short form of the campaign: no case of it fails."""

from pathlib import Path

import pytest

from tests.attack.campaign import campaign


@pytest.mark.system
def test_no_bad_input_and_no_damage_gets_further_than_a_sentence(trained_project: Path) -> None:
    outcomes = list(campaign(cases=250, seed=1, seconds=120))
    assert len(outcomes) > 50
    assert not [outcome for outcome in outcomes if outcome.problem]
