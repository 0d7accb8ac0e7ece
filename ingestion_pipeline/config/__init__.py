"""Configuration: settings from the environment, cities and feeds from a file."""
