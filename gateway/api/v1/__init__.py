"""The REST interface `/v1`: what systems of agencies ask for. It only grows."""
