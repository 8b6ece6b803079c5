"""Protocols between the application and the world: what an adapter must offer."""
