"""Trials: users of a running node. The demo plays a province, kills its processes, and closes the account."""
