"""What people write into tags, in one form: opening hours, contacts and names."""
