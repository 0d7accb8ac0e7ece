"""Assets: the same for every dataset."""
