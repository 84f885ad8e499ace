"""Ready tasks: statistics of all sites' rows that equal those of the rows in one place, without small counts."""
