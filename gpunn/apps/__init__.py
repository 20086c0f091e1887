"""Applications built on the engine: the command line, models for custom tables and pictures,
scikit-learn estimators, plots, web pages, training reports, data checks, the roofline model, the
perceptron and least squares.

No lower layer imports it.
"""
