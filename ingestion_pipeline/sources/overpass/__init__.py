"""The Overpass API as a source."""
