"""`make demo`: three hospitals train one model on real patients' records. It knows the hub by HTTP only."""
