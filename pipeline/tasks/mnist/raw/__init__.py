"""Where the raw data come from: the `source` of the task in params.yaml, which DVC watches."""
