"""`make demo`: three hospitals train one model on real patients' records. A user like any other: HTTP and files only."""
