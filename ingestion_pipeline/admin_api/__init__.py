"""The admin API: enqueues, reads and cancels jobs over HTTP. It never calls Dagster."""
