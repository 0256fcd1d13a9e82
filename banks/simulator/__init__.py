"""A separate server that plays the banks, with books of its own. Nothing outside this folder imports it,
tests apart.
"""
