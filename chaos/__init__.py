"""Kill tests: the hub's own processes and servers under load, while something is killed, frozen or cut off."""
