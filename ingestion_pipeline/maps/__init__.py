"""Maps as HTML files: one staged day, or the difference between two."""
