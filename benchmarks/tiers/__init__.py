"""What a tier adds to the bare link under it: the gateway beside a broker, the cloud beside gRPC."""
