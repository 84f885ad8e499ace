"""What a site's people do, as functions that print nothing: the command line and the portal call the same ones.

They speak as the site, with its token, beside an agent that may be running.
"""
