"""The portal's pages, one subject a file."""
