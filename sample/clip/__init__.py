"""Trains a tiny CLIP on pictures and claims of the sample world: the table's encoder that never reasons."""
