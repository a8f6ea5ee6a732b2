//! Runs a policy module the way kwctl and policy-server do, for demo, tests and benchmarks
