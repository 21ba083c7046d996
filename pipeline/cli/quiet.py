"""The import of TensorFlow, without its notes."""

import os
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager

from pipeline.errors import standard_error_to

NOTE = re.compile(rb"I\d{4} |WARNING: All log messages before absl::InitializeLog")


@contextmanager
def without_notes() -> Iterator[None]:
    """Hold standard error back, and pass on what is no note of TensorFlow's.

    It prints that it has found no CUDA and that it uses oneDNN, whatever TF_CPP_MIN_LOG_LEVEL says.
    """
    with tempfile.TemporaryFile() as held:
        try:
            with standard_error_to(held):
                yield
        finally:
            held.seek(0)
            for line in held:
                if not NOTE.match(line):
                    os.write(2, line)
