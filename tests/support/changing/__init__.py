"""Values of every kind that what a user writes may read, and what becomes of a change of one."""
