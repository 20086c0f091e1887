"""Linear algebra of matrices: factors, systems of equations, inverses, determinants.

Imported when one of its operations is first used.
"""
