"""Source files to pictures that a teacher gets: decoded once, safely, resized by a named recipe, kept."""

from annotate.images.decoding import ImageProblem
from annotate.images.store import DEFAULT_RECIPE, Encoded, ImageStore, moved, parse_recipe, unmoved

__all__ = ["DEFAULT_RECIPE", "Encoded", "ImageProblem", "ImageStore", "moved", "parse_recipe", "unmoved"]
