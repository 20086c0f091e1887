"""Read a table's file, and tell what each column holds: numbers, categories, dates or texts."""
