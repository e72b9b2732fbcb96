"""The single source of every schema: triplets, answers, published rows, the manifest. Imports nothing of ours."""
