"""Further operations by subject, most of them made of the others."""
