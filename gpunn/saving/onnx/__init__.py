"""Models as files of ONNX: layers in terms of tensors, and these in terms of its operators."""
