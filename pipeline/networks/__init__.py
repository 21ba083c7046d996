"""A network of params.yaml as a Keras model and as an ONNX graph, with the loss and the optimizer that train it."""
