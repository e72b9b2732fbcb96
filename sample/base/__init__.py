"""Trains the retriever's tiny base model: it knows pictures and words, not how one changes the other."""
