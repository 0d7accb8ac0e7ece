"""The database: tables, versioned slices, and the ledger of runs."""
