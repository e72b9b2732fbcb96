"""The single source of every schema: triplets, answers, rows, the manifest. Imports nothing of ours."""
