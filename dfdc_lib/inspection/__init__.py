"""One video in; one answer with its evidence out."""
