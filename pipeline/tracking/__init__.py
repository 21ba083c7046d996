"""The only room that knows MLflow: one run a trained model, found by the hash of its weights."""
