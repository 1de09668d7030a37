"""Dead letters: bury, list, replay, discard."""
