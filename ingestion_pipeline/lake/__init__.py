"""Files: content-addressed raw snapshots, their manifests, and GeoParquet frames, in a store."""
