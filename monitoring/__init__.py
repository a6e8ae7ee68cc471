"""What a running node says of itself: metrics, log lines, alerts. Knows no store; its rules are values in, values out."""
