"""Access to a deployed stack, for the command line and the local run."""
