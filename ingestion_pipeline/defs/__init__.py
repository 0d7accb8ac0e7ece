"""The only Dagster code: partitions, resources, assets, jobs, and how errors become failures."""
