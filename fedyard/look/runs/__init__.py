"""What is shown of a run, read off it: pure values that the hub's page and a site's portal draw alike."""
