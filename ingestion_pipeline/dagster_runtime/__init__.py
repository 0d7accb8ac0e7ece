"""How Dagster's processes are run here. The only package that uses private names of Dagster."""
