"""Parts of a cluster that is this machine (processes.py): what runs below it, and outlives it. It needs no package."""
