"""Checks of a day's data, on plain values."""
