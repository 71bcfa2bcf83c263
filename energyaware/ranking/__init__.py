"""From benchmarks to a ranking: φ, ρ, R, their intervals, shared ranks and the Pareto front."""
