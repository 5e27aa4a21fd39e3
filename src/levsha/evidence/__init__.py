"""What is known of a net, and how: metrics, comparisons, tables, pictures."""
