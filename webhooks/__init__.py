"""The sender of webhooks: a process of its own, which takes due deliveries from the outbox and calls merchants."""
