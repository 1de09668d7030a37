"""What the chain costs, beside the limit of the same machine in the same minutes."""
