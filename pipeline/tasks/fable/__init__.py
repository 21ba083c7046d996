"""Predict the next word of a story: "there came a" is followed by "cat"."""
