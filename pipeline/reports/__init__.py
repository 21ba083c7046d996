"""What people read: comparisons of runs, the report of a branch, the tables of results."""
