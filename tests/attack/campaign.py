"""The areas of the campaign. Each case changes one thing in a trained tiny project, runs a command, and puts it back.

A command must end with exit status 0, 1 or 2 and without a traceback; an error is one short line. What was damaged is
refused, or harmless: the outputs stay as they were. No file outside of the project changes.
"""

import random
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from tests.attack import damage, faults, hosts, inputs, readers, teaching, trust, web


@dataclass(frozen=True)
class Outcome:
    """One case: what was done, and what is wrong with what came of it; "" if nothing is."""

    area: str
    case: str
    problem: str


Area = Callable[[random.Random], tuple[str, str]]  # returns what was done, and the problem

AREAS: dict[str, tuple[Area, float]] = {  # with their shares of the cases
    "parameters": (inputs.parameters, 40),
    "words": (inputs.words, 12),
    "pictures": (inputs.pictures, 20),
    "exports": (damage.exports, 12),
    "data": (damage.data, 12),
    "types": (damage.types, 12),
    "swapped": (damage.swapped, 4),
    "requests": (web.requests, 20),
    "hosts": (hosts.hosts, 20),
    "readers": (readers.readers, 1000),
    "certificate": (teaching.certificate, 20),
    "cards": (teaching.cards, 5),
    "exercises": (teaching.exercises, 0.5),
    "dvc.lock": (damage.lock, 3),
    "names": (inputs.names, 0.4),
    "kills": (faults.kill, 0.4),
    "store": (faults.store_kill, 0.4),
    "faults": (faults.faults, 1),
    "recorded": (damage.recorded, 1),
    "run cache": (damage.run_cache, 2),
    "memory": (inputs.memory, 1),
    "secrets": (trust.secrets, 1),
    "trust": (trust.trust, 1),
}


def campaign(cases: int, seed: int, seconds: float = float("inf"), areas: Sequence[str] = ()) -> Iterator[Outcome]:
    """Run cases of these areas, or of all, in the working folder, a trained project, until `seconds` have passed."""
    end, areas = time.monotonic() + seconds, list(areas or AREAS)
    for number in range(cases):
        if time.monotonic() > end:
            return
        rng = random.Random(f"{seed} {number}")  # noqa: S311
        area = rng.choices(areas, [AREAS[each][1] for each in areas])[0]
        yield Outcome(area, *AREAS[area][0](rng))
