"""Keras 3's own files: ``.keras`` archives and ``.weights.h5`` files, read and written with h5py.

`parts` translates the configurations of parts, `graphs` of models; `states` gives each layer
its place in a file of weights; `archive` reads and writes the files.
"""
