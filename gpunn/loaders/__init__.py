"""Loaders: data sets from folders of files, from series, and from the web."""
