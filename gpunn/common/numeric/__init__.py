"""Numbers: the normal distribution, and moments of numbers of any size."""
