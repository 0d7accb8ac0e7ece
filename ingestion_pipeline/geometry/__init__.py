"""Geometry without OpenStreetMap: rings, representative points, limits, polygon files."""
