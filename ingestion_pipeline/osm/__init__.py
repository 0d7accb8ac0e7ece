"""OpenStreetMap: what to ask for, how to read it, how to shape it. No Dagster, no SQL."""
