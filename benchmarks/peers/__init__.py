"""Our cloud beside the usual model servers, on the same model: `make bench-peers`."""
