"""LSTMs that read a short sequence and predict its class, from raw data to a prediction."""

__version__ = "0.3.0"
