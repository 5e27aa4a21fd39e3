"""What a conversion may do to lose less, by name: known to the command line, which must not wait for torch."""

OBSERVERS = ("measured", "min-max", "percentile", "mean-square")  # what chooses the steps of values
REFINE = ("means", "steps", "equalise", "scales", "rounding")  # what is done where it helps, see lower.Options
