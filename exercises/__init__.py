"""Eight small programs about LSTMs, each with a gap to fill; `make exercises` says what is still wrong."""
