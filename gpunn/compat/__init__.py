"""Names of Keras and TensorFlow beyond parts and models, and names that gpunn lacks."""
