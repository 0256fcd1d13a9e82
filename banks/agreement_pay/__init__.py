"""The connector that speaks the agreement-payment protocol of `docs/bank_protocol.md`."""
