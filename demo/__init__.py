"""A merchant and several payers, played from outside: only over HTTP, as anybody could (`make demo`)."""
