"""What a model is made of: the graph of its layers, its parameters, its summary.

It imports the parts (layers and so on) and what is below them.
"""
