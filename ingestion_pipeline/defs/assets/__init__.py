"""Assets, one module per dataset."""
