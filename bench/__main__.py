"""`make bench`: measure the project; write bench/results.json, bench/README.md and plots. FULL=1 measures everything.

What is compared is measured in one run, in turns; ratios are medians, with the smallest and the largest.
"""

import json
import os
import platform
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bench import cluster, pictures, prediction, report, scale, site, training, workers, workflow
from bench.measure import ROOT

PARTS: dict[str, Callable[[bool], Any]] = {
    "steps": training.steps,
    "time_to_published": training.time_to_published,
    "inference": prediction.inference,
    "pictures": pictures.accuracy,
    "orchestration": workflow.orchestration,
    "scale": scale.scale,
    "site": site.site,
    "cluster": cluster.cluster,
    "workers": workers.workers,
    "many_bits": workers.many_bits,
    "gpu": training.gpu,
}


def main(names: list[str]) -> None:
    """Measure the named parts, or all; the results of other parts stay."""
    full = os.environ.get("FULL") == "1"
    path = ROOT / "bench" / "results.json"
    results: dict[str, Any] = json.loads(path.read_text()) if path.is_file() and names else {}
    results["machine"] = f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}"
    for name in names or PARTS:
        print(f"{name} ...", flush=True)
        started = time.monotonic()
        results[name] = PARTS[name](full)
        print(f"{name}: {time.monotonic() - started:.0f} s", flush=True)
        path.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    report.write(results, ROOT / "bench")
    print(Path("bench/README.md").read_text())


if __name__ == "__main__":
    if unknown := [name for name in sys.argv[1:] if name not in PARTS]:
        print(f"error: {unknown[0]!r} is no part; choose some of {', '.join(PARTS)}, or none for all.", file=sys.stderr)
        sys.exit(2)
    main(sys.argv[1:])
