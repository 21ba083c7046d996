"""A page to try the exported models, in the browser. Gradio makes the page; ONNX Runtime computes what it shows."""
