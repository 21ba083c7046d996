"""Warn of what looks like a credential in changes that MLflow will hold."""

import logging
from collections.abc import Iterator

log = logging.getLogger(__name__)
LINES = 5000  # of a file that are looked at: more are a text, such as a story


def warn(patch: bytes) -> None:
    """Log a warning for each file of a patch that adds a line in which detect-secrets finds a credential."""
    for path, kind in sorted(set(found(patch))):
        log.warning(
            "the changes of %s add what looks like a credential (%s), and MLflow will hold them for all who read its "
            "store; if it is one, take it out and train again.",
            path,
            kind,
        )


def found(patch: bytes) -> Iterator[tuple[str, str]]:
    """The file and the kind of each thing in the first added lines of a file that looks like a credential."""
    from detect_secrets.core.scan import scan_line
    from detect_secrets.settings import default_settings

    path, lines = "", 0
    with default_settings():
        for line in patch.decode(errors="replace").splitlines():
            if line.startswith("+++ b/"):
                path, lines = line.removeprefix("+++ b/"), 0
            elif line.startswith("+") and lines < LINES:
                lines += 1
                # High entropy alone is no sign of a credential: hashes and numbers have it.
                yield from ((path, each.type) for each in scan_line(line[1:]) if "Entropy" not in each.type)
