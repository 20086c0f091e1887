"""Optimizers whose update of a weight reads all of its elements, such as a norm or a product."""
