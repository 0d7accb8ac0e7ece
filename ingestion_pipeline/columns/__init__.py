"""Columns in memory: Arrow arrays, hashes of rows, sets of tags."""
