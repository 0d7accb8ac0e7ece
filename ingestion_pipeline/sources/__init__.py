"""Sources of raw data: Overpass, OSM extracts and feeds."""
