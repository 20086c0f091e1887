"""Structure of models: the graph of layers, the parameters, the summary.

It imports layers and other parts, and the packages below them.
"""
