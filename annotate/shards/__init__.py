"""A run in shards: plan (which triplets), pending (what it costs), run (one shard's path), publish (OUT)."""
