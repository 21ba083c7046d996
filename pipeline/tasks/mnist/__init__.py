"""Recognise a handwritten digit: its 28 rows are read as 28 steps."""

INPUT = "the path of a picture of a digit, such as docs/seven.png"
