"""The import of TensorFlow, without its notes."""

import os
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager

NOTE = re.compile(rb"I\d{4} |WARNING: All log messages before absl::InitializeLog")


@contextmanager
def without_notes() -> Iterator[None]:
    """Hold standard error back, and pass on what is no note of TensorFlow's.

    It prints that it has found no CUDA and that it uses oneDNN, whatever TF_CPP_MIN_LOG_LEVEL says.
    """
    with tempfile.TemporaryFile() as held:
        standard_error = os.dup(2)
        os.dup2(held.fileno(), 2)
        try:
            yield
        finally:
            os.dup2(standard_error, 2)
            os.close(standard_error)
            held.seek(0)
            for line in held:
                if not NOTE.match(line):
                    os.write(2, line)
