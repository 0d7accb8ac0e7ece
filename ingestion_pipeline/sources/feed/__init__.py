"""Feeds of helper places as a source."""
