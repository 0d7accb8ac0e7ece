"""The review page: what it reads by HTTP, and the page itself under `/review`."""
