"""Whether a day's data can be trusted: checks on plain values, without Dagster and SQL."""
