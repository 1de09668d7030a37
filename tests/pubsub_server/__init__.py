"""A Google Pub/Sub for tests: topics, push and pull subscriptions, and the keys that push tokens are signed with."""
