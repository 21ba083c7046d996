"""What standard error keeps while TensorFlow is imported."""

import os

import pytest

from pipeline.cli.quiet import without_notes


def test_notes_are_left_out_and_warnings_and_errors_stay(capfd: pytest.CaptureFixture[str]) -> None:
    lines = [
        b"WARNING: All log messages before absl::InitializeLog() is called are written to STDERR\n",
        b"I0000 00:00:1.5 1 cudart_stub.cc:31] Could not find cuda drivers on your machine\n",
        b"W0000 00:00:1.5 1 a warning\n",
        b"E0000 00:00:1.5 1 an error\n",
        b"not a line of TensorFlow",
    ]
    with pytest.raises(ValueError, match="an exception"), without_notes():
        for line in lines:
            os.write(2, line)
        raise ValueError("an exception")
    assert capfd.readouterr().err.encode() == b"".join(lines[2:])
    os.write(2, b"I0000 afterwards\n")
    assert capfd.readouterr().err == "I0000 afterwards\n"
