"""Recognise a handwritten digit: its 28 rows are read as 28 steps."""
