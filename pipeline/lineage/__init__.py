"""What a model was made from, as git and DVC know it."""
