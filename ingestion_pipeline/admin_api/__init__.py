"""The admin API: jobs are asked for, looked at and canceled over HTTP. It never calls Dagster."""
