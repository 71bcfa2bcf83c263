"""Sets clocks and power caps of CPU and GPU for a sweep, and puts back what was set before."""
