//! Load test: bots, handoff latency, comparisons.
