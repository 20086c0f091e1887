"""Numerical utilities: the normal distribution, and moments of values of any magnitude."""
