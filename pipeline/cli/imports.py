"""The import of TensorFlow, in half the time and without its notes, into a process that keeps its memory."""

import ctypes
import os
import re
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager

NOTE = re.compile(rb"I\d{4} |WARNING: All log messages before absl::InitializeLog")
# What Keras imports where it is installed, for wrappers and galleries that nothing here uses: a second.
UNUSED = ("sklearn", "matplotlib")

# Options of glibc's mallopt, and their values: one arena for all threads, no mapping for a large block, no trimming.
MALLOC = ((-8, 1), (-4, 0), (-1, 2**31 - 1))


@contextmanager
def importing_tensorflow() -> Iterator[None]:
    """Hold standard error back, and pass on what is no note of TensorFlow's; hide packages that Keras does not need.

    TensorFlow prints that it has found no CUDA and that it uses oneDNN, whatever TF_CPP_MIN_LOG_LEVEL says.
    """
    _keep_memory()
    hidden = [name for name in UNUSED if name not in sys.modules]
    for name in hidden:
        sys.modules[name] = None  # type: ignore[assignment]  # an import raises ModuleNotFoundError: Keras expects it
    try:
        with _without_notes():
            yield
    finally:
        for name in hidden:
            del sys.modules[name]


def _keep_memory() -> None:
    """Have glibc keep memory that is freed: the system would clear it anew for each large tensor of each step.

    An arena that a thread has got already stays.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt:
        for option, value in MALLOC:
            mallopt(option, value)


@contextmanager
def _without_notes() -> Iterator[None]:
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
