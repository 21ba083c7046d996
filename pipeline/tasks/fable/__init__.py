"""Predict the next word of a story: "there came a" is followed by "cat"."""

INPUT = 'a few words of the story, such as "there came a"'
