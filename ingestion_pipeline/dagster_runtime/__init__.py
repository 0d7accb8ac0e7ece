"""Running Dagster's processes. The only package that uses Dagster's private API."""
