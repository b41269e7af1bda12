"""Crops in; a trained model, and the scores it gives, out."""
