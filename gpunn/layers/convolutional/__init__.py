"""Layers of windows and images: convolutions, pooling, padding, cropping and upsampling."""
