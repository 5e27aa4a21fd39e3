"""Graph -> text: C, JSON, a packed binary."""
