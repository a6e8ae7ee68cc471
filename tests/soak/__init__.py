"""The long proof: a province on real services, faults by a schedule, ledgers, and the judge (`make soak`)."""
