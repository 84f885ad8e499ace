"""What runs at a site: the client, the agent, the tasks and the command line. Imports nothing of the hub."""
