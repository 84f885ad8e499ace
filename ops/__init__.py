"""The operator's side: the `fedyard` command line, private servers, `make up`, the embedded process."""
