"""The rules of the institution, pure: no IO, no clock, no randomness. Time and ids come in as arguments."""
