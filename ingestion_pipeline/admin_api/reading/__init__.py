"""The reading API: OGC API - Features and vector tiles over the views, by the library tipg."""
