"""The recipe regression: a multilayer perceptron on a table, the lesson, and a sensor model on a chip."""
