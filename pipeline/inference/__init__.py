"""Predictions from an exported model by ONNX Runtime, without TensorFlow."""
