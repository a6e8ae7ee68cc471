"""What a running node says of itself: metrics, log lines, alerts. Knows no store; rules are values in, values out."""
