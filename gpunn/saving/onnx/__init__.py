"""ONNX export: layers as tensor operations, and these as ONNX operators."""
