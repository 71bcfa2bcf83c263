"""What reads joules: each meter behind one small protocol, its vendor's errors translated."""
