"""A crop in; an augmented crop out."""
