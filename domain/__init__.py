"""What travels and what may follow what: pure values, no reading, waiting, drawing or logging."""
