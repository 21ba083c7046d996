"""What standard error keeps while TensorFlow is imported, and what is not imported with it."""

import ctypes
import os
import subprocess
import sys

import pytest

from pipeline.cli.imports import importing_tensorflow


def test_notes_are_left_out_and_warnings_and_errors_stay(capfd: pytest.CaptureFixture[str]) -> None:
    lines = [
        b"WARNING: All log messages before absl::InitializeLog() is called are written to STDERR\n",
        b"I0000 00:00:1.5 1 cudart_stub.cc:31] Could not find cuda drivers on your machine\n",
        b"W0000 00:00:1.5 1 a warning\n",
        b"E0000 00:00:1.5 1 an error\n",
        b"not a line of TensorFlow",
    ]
    with pytest.raises(ValueError, match="an exception"), importing_tensorflow():
        for line in lines:
            os.write(2, line)
        raise ValueError("an exception")
    assert capfd.readouterr().err.encode() == b"".join(lines[2:])
    os.write(2, b"I0000 afterwards\n")
    assert capfd.readouterr().err == "I0000 afterwards\n"


def printed(code: str) -> list[str]:
    """The lines that Python code prints in a new process."""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return done.stdout.splitlines()


def test_keras_imports_nothing_that_only_its_wrappers_need() -> None:
    code = (
        "import sys; from pipeline.cli.imports import UNUSED, importing_tensorflow\n"
        "with importing_tensorflow():\n    import keras\n"
        "print([name for name in UNUSED if name in sys.modules])\n"
        "import matplotlib, sklearn; print('both can be imported afterwards')"
    )
    assert printed(code) == ["[]", "both can be imported afterwards"]


def test_packages_that_are_imported_already_stay() -> None:
    import matplotlib

    with importing_tensorflow():
        assert sys.modules["matplotlib"] is matplotlib
    assert sys.modules["matplotlib"] is matplotlib


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "mallopt"), reason="the allocator is not glibc's")
def test_memory_that_is_freed_is_not_cleared_anew_by_the_system() -> None:
    code = (
        "import resource\n"
        "from pipeline.cli.imports import importing_tensorflow\n"
        "with importing_tensorflow():\n    pass\n"
        "for _ in range(10):\n    b'x' * (48 << 20)\n    print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt)"
    )
    faults = [int(line) for line in printed(code)]
    assert faults[-1] - faults[0] < 1000, "pages of 4 KiB; a block has 12,288"
