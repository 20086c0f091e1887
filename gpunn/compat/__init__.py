"""Names of Keras and TensorFlow beyond those of parts and models, and names that gpunn lacks."""
