"""Layers that prepare data: numbers inside the step, texts on the host while data are fed."""
