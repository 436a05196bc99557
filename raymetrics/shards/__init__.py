"""The shard format: features of samples in Parquet files. Neither torch nor Ray."""
