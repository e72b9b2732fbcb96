"""Source files to pictures that a teacher gets: decoded once, safely, resized by a named recipe, kept."""

from annotate.images.decoding import ImageProblem
from annotate.images.store import Encoded, ImageStore, moved, parse_recipe, unmoved

__all__ = ["Encoded", "ImageProblem", "ImageStore", "moved", "parse_recipe", "unmoved"]
