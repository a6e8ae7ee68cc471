"""What a running node says of itself: metrics, log lines, alerts. Values in, values out; no clock, no store."""
