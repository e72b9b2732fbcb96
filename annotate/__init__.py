"""The annotation pipeline: triplet -> images -> stages -> checks -> selection -> Parquet. Plain functions, no Prefect."""
