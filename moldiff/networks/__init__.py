"""E(3)-equivariant networks: raw outputs, no schedules."""
