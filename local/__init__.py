"""The whole stack on a laptop: a local AWS and a Codat sandbox."""
