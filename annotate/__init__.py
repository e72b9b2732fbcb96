"""The annotation pipeline: triplet -> images -> stages -> checks -> selection -> Parquet. No Prefect here."""
