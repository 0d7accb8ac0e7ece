"""The datasets, one registry entry for each."""
