"""What processes do in the world: thin methods on classes that are handed their adapters."""
