"""From sample ids to shards: the stream of Ray Data that makes, extracts and commits samples."""
