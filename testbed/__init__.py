"""What tests and benchmarks share: PostgreSQL, the platform's processes, invented towns."""
