"""OSM extracts as a source."""
