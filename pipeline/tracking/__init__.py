"""The only package that imports MLflow: one run for each trained model, identified by the hash of its weights."""
