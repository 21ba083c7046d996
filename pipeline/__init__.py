"""Short sequences in, their classes out: five LSTMs from raw data to an answer."""
