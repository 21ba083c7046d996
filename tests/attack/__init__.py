"""Bad input, damaged files and kills, drawn at random from a seed: `make attack`; a short form is a test."""
