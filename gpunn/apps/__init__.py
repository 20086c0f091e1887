"""What is made with the engine and is no part of it: the command line, plots, data checks,
the roofline, the perceptron and least squares.

Nothing below imports it.
"""
