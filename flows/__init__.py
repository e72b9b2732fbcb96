"""Prefect shells over the pipeline: nothing here knows how a triplet is annotated."""
