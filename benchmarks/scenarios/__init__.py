"""What is compared with what: each module gives the comparisons of one table."""
