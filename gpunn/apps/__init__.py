"""What is made with the engine and is no part of it: the command line, models of
one's own tables and pictures, scikit-learn's estimators, plots, pages for a browser, reports of
trainings, data checks, the roofline, the perceptron and least squares.

Nothing below imports it.
"""
