"""The sample world: rendered pictures in the real datasets' layouts, with the truth beside them."""
