"""From raw mail to work orders: pure rules, ports, runtime, adapters and stages."""
