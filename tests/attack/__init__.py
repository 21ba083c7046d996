"""Bad input, damaged files and kills, drawn at random from a seed: `make attack`, and a short form in `make test`."""
