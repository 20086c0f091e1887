"""Layers for sequences: tables of rows by index, recurrent layers, attention."""
